//! Every figure of a peer, layer by layer.

use hyperswarm::Swarm;

use super::Text;
use crate::sidechannel::Tally;

/// Figures of the layers above the swarm.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Above {
    /// Channels that are joined.
    pub(crate) channels: usize,
    /// Peers with whom there is a sidechannel connection.
    pub(crate) peers: usize,
    /// What became of messages.
    pub(crate) messages: Tally,
    /// Connections to the bridge.
    pub(crate) bridge_clients: usize,
}

/// All figures of a peer on `swarm`.
pub(crate) fn of_peer(swarm: &Swarm, above: Above) -> String {
    let mut text = Text::new();
    let dht = swarm.dht();

    let udx = dht.rpc().udx().gauges();
    text.gauge("intercom_udx_sockets", "UDP sockets that are bound", udx.sockets);
    text.gauge("intercom_udx_streams", "UDX streams, with those that only linger", udx.streams);
    text.gauge("intercom_udx_deadlines", "Deadlines of streams that are waited for", udx.deadlines);

    let (rpc, requests) = (dht.rpc().gauges(), dht.rpc().stats());
    text.gauge("intercom_dht_nodes", "Nodes in the routing table", rpc.nodes);
    text.gauge("intercom_dht_requests", "Requests to nodes that are not answered yet", rpc.requests);
    text.gauge("intercom_dht_queries", "Queries that run", rpc.queries);
    text.gauge("intercom_dht_online", "Whether the DHT answers", *dht.online().borrow());
    text.gauge("intercom_dht_persistent", "Whether this node stores for others", dht.rpc().id().is_some());
    let changes = *dht.network_changes().borrow();
    text.counter("intercom_network_changes_total", "Times that the machine's network changed, or it woke up", changes);
    text.gauge("intercom_dht_suspended", "Whether this node is suspended", dht.is_suspended());
    text.counter("intercom_dht_responses_total", "Requests that were answered", requests.responses);
    text.counter("intercom_dht_timeouts_total", "Requests that were given up", requests.timeouts);
    text.counter("intercom_dht_retries_total", "Times that a request was sent again", requests.retries);

    let hyperdht = dht.gauges();
    text.gauge("intercom_hyperdht_servers", "Servers that listen", hyperdht.servers);
    text.gauge("intercom_hyperdht_handshakes", "Handshakes that servers remember", hyperdht.handshakes);
    text.gauge("intercom_hyperdht_forwards", "Peers that this node forwards to", hyperdht.forwards);
    text.gauge("intercom_hyperdht_records", "Announcements stored for others", hyperdht.records);
    text.gauge("intercom_hyperdht_values", "Values stored for others", hyperdht.values);
    text.gauge("intercom_hyperdht_routes", "Peers to whom a route is remembered", hyperdht.routes);
    text.gauge("intercom_hyperdht_pool_sockets", "Sockets that punch holes", hyperdht.pool_sockets);
    let (punches, relays) = (dht.punch_stats(), dht.relay_stats());
    text.counter("intercom_punches_open_total", "Connections that needed no hole", punches.open);
    text.counter("intercom_punches_consistent_total", "Holes between steady addresses", punches.consistent);
    text.counter("intercom_punches_random_total", "Holes with random ports on one side", punches.random);
    text.counter("intercom_punches_refused_total", "Random punches put off or refused", punches.refused);
    text.counter("intercom_relay_attempts_total", "Meetings at blind relays that were tried", relays.attempts);
    text.counter("intercom_relay_successes_total", "Streams that went through a relay", relays.successes);
    text.counter("intercom_relay_aborts_total", "Meetings that failed or were not needed", relays.aborts);
    text.counter("intercom_relay_upgrades_total", "Streams that left a relay for a direct way", relays.upgrades);

    let (gauges, stats) = (swarm.gauges(), swarm.stats());
    text.gauge("intercom_swarm_connections", "Connections to peers", gauges.connections);
    text.gauge("intercom_swarm_connecting", "Attempts that run", gauges.connecting);
    text.gauge("intercom_swarm_known_peers", "Peers that are known", gauges.known_peers);
    text.gauge("intercom_swarm_queued", "Peers that wait for an attempt", gauges.queued);
    text.gauge("intercom_swarm_waiting", "Peers that wait to be tried again", gauges.waiting);
    text.gauge("intercom_swarm_topics", "Topics that are joined", gauges.topics);
    text.counter("intercom_swarm_client_attempted_total", "Attempts of ours", stats.client_attempted);
    text.counter("intercom_swarm_client_opened_total", "Attempts that became a connection", stats.client_opened);
    text.counter(
        "intercom_swarm_client_closed_total",
        "Attempts and connections of ours that ended",
        stats.client_closed,
    );
    text.counter("intercom_swarm_server_opened_total", "Connections that others opened", stats.server_opened);
    text.counter("intercom_swarm_server_closed_total", "Connections of others that ended", stats.server_closed);
    text.counter(
        "intercom_swarm_server_refused_total",
        "Connections of others that were refused",
        stats.server_refused,
    );
    text.counter("intercom_swarm_banned_peers_total", "Peers that the firewall banned", stats.banned_peers);

    text.gauge("intercom_sidechannel_channels", "Channels that are joined", above.channels);
    text.gauge("intercom_sidechannel_peers", "Peers that the sidechannels are connected to", above.peers);
    let Tally { sent, delivered, relayed, repeated, refused, .. } = above.messages;
    text.counter("intercom_sidechannel_sent_total", "Own messages given to the connected peers", sent);
    text.counter("intercom_sidechannel_delivered_total", "Messages of others that were taken", delivered);
    text.counter("intercom_sidechannel_relayed_total", "Messages of others that were passed on", relayed);
    text.counter("intercom_sidechannel_repeated_total", "Messages of others that came once more", repeated);
    text.counter("intercom_sidechannel_refused_total", "Messages of others that were refused", refused);
    text.gauge("intercom_bridge_clients", "Connections to the SC-Bridge", above.bridge_clients);

    if let Some(memory) = memory_stats::memory_stats() {
        text.gauge("process_resident_memory_bytes", "Memory of the process that is in RAM", memory.physical_mem);
        text.gauge("process_virtual_memory_bytes", "Address space of the process", memory.virtual_mem);
    }
    text.into()
}
