//! SC-Bridge: the WebSocket surface by which agents read and write sidechannels.
