/// What went wrong, by whom it can be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    /// A public key that libsodium does not compute with: not a point, of small or mixed order, or encoded ambiguously.
    #[error("the public key is not usable")]
    InvalidPublicKey,
    /// The public half of a secret key does not belong to its seed.
    #[error("the secret key contradicts itself")]
    InconsistentSecretKey,
    /// A message was not sealed with this key, or not at this place in the stream, or was changed on its way.
    #[error("the message is not authentic")]
    NotAuthentic,
    /// A message is shorter than its fixed parts.
    #[error("the message is too short")]
    MessageTooShort,
    /// A handshake message is longer than the 65,535 bytes that Noise allows.
    #[error("the handshake message is too long")]
    MessageTooLong,
    /// The initiator of an IK handshake was not given the key of the responder.
    #[error("the handshake needs the remote public key")]
    RemoteKeyRequired,
    /// A handshake was asked to send when it is to receive, to go on after its end or after an error, or to end before it.
    #[error("the handshake is not at this step")]
    OutOfTurn,
    /// Key stretching was asked for fewer than 3 passes, for less than 8 KiB, or for more than 4 GiB - 1 KiB.
    #[error("the parameters of the key stretching are out of range")]
    StretchingParameters,
}
