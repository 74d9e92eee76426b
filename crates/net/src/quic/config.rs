//! The settings of the QUIC transport: limits from bandwidth and round trip, never the library's.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use antiphon_proto::{FRAME_BYTES_MAX, NodeId};
use s2n_quic::provider::io::tokio::{Builder, Provider};
use s2n_quic::provider::limits::Limits;

use crate::certs::Credentials;
use crate::error::BindError;
use crate::framing::MESSAGE_BYTES_CEILING;
use crate::lane::{Lane, PerLane};

/// The longest message of each lane if nothing else is configured: a whole frame and its
/// envelope fit where entries and snapshots travel.
pub(crate) const MESSAGE_BYTES_MAX_DEFAULT: PerLane<usize> = PerLane {
    control: 1 << 20,
    log: FRAME_BYTES_MAX + (1 << 20),
    bulk: FRAME_BYTES_MAX + (1 << 20),
};

/// At packets of 65,000 bytes the library was seen to crash; jumbo frames end at 9,000.
const MTU_MAX: u16 = 9000;
/// QUIC does not work below.
const MTU_MIN: u16 = 1228;
const WINDOW_BYTES_MIN: u64 = 1 << 20;
const WINDOW_BYTES_MAX: u64 = 256 << 20;
const LANES: u64 = 3;
/// Bytes of packets that wait for the socket: some sends of 64 KiB, each one system call.
const SOCKET_QUEUE_BYTES: usize = 1 << 20;
/// Bytes the kernel may hold for a socket; it grants what it allows.
const SOCKET_BUFFER_BYTES: usize = 4 << 20;

const _: () = assert!(LANES * WINDOW_BYTES_MAX <= u32::MAX as u64, "the library's limit");
const _: () = assert!(MESSAGE_BYTES_MAX_DEFAULT.log <= MESSAGE_BYTES_CEILING, "a length fits");

/// How a node uses QUIC.
#[derive(Debug, Clone)]
pub struct QuicConfig {
    /// This node; its certificate must say the same.
    pub me: NodeId,
    /// Where to listen: address or name, and port; port 0 takes a free one.
    pub listen: String,
    /// What to show, and whom to believe.
    pub credentials: Credentials,
    /// Bytes a second that one link shall be able to carry. Default 1.25 GB/s: 10 Gbit/s.
    pub bandwidth_bytes_per_second: u64,
    /// The longest usual round trip between nodes. Default 10 ms; with the bandwidth above it
    /// makes a window of 12.5 MB for each lane, which is also what a slow receiver costs us.
    pub round_trip: Duration,
    /// The largest packet tried. Default 1,500; up to 9,000 where every hop carries it.
    pub mtu: u16,
    /// A link is over when nothing was heard for this long. Default 2 s.
    pub idle_timeout: Duration,
    /// A silent link is asked for a sign of life this often. Default 500 ms: three may be lost.
    pub keep_alive: Duration,
    /// Making a link may take this long. Default 1 s.
    pub connect_timeout: Duration,
    /// An acknowledgement of packets waits at most this long for more. Default 2 ms.
    pub ack_delay: Duration,
    /// The longest message of each lane. Default 1 MiB for control, 65 MiB for log and bulk.
    pub message_bytes_max: PerLane<usize>,
    /// Whether the kernel cuts and joins packets for us. Default on; off is three times slower.
    pub offload: bool,
}

impl QuicConfig {
    /// Settings good for loopback and a local network.
    #[must_use]
    pub fn new(me: NodeId, listen: impl Into<String>, credentials: Credentials) -> Self {
        Self {
            me,
            listen: listen.into(),
            credentials,
            bandwidth_bytes_per_second: 1_250_000_000,
            round_trip: Duration::from_millis(10),
            mtu: 1500,
            idle_timeout: Duration::from_secs(2),
            keep_alive: Duration::from_millis(500),
            connect_timeout: Duration::from_secs(1),
            ack_delay: Duration::from_millis(2),
            message_bytes_max: MESSAGE_BYTES_MAX_DEFAULT,
            offload: true,
        }
    }

    pub(super) fn check(&self) -> Result<(), BindError> {
        let refuse = |setting, reason: String| Err(BindError::Setting { setting, reason });
        if self.credentials.node() != self.me {
            return Err(BindError::Identity { me: self.me, found: self.credentials.node() });
        }
        if !(MTU_MIN..=MTU_MAX).contains(&self.mtu) {
            let reason = format!("{} is not within {MTU_MIN} to {MTU_MAX}", self.mtu);
            return refuse("mtu", reason);
        }
        if self.idle_timeout <= self.keep_alive {
            let reason = format!("{:?} is not longer than keep_alive", self.idle_timeout);
            return refuse("idle_timeout", reason);
        }
        if self.keep_alive.is_zero() || self.connect_timeout.is_zero() {
            return refuse("keep_alive and connect_timeout", "zero is no time".to_owned());
        }
        for lane in Lane::ALL {
            let limit = *self.message_bytes_max.of(lane);
            if !(1..=MESSAGE_BYTES_CEILING).contains(&limit) {
                let reason = format!("{limit} ({lane}) is not within 1 to {MESSAGE_BYTES_CEILING}");
                return refuse("message_bytes_max", reason);
            }
        }
        self.limits().map(|_| ())
    }

    /// Bytes that may be on their way in one lane.
    fn window_bytes(&self) -> u64 {
        let micros = u64::try_from(self.round_trip.as_micros()).unwrap_or(u64::MAX);
        let product = self.bandwidth_bytes_per_second.saturating_mul(micros);
        (product / 1_000_000).clamp(WINDOW_BYTES_MIN, WINDOW_BYTES_MAX)
    }

    pub(super) fn limits(&self) -> Result<Limits, BindError> {
        let window = self.window_bytes();
        let buffer = u32::try_from(window).expect("a window is at most 256 MiB");
        // The connection's window is that of all lanes together, so that no lane waits for
        // another one's reader.
        let build = || {
            Limits::new()
                .with_data_window(window.saturating_mul(LANES))?
                .with_bidirectional_local_data_window(window)?
                .with_bidirectional_remote_data_window(window)?
                .with_unidirectional_data_window(0)?
                .with_max_open_local_bidirectional_streams(LANES)?
                .with_max_open_remote_bidirectional_streams(LANES)?
                .with_max_open_local_unidirectional_streams(0)?
                .with_max_open_remote_unidirectional_streams(0)?
                .with_max_send_buffer_size(buffer)?
                .with_max_idle_timeout(self.idle_timeout)?
                .with_max_keep_alive_period(self.keep_alive)?
                .with_max_handshake_duration(self.connect_timeout)?
                .with_max_ack_delay(self.ack_delay)?
                .with_initial_round_trip_time(self.round_trip)?
                .with_active_connection_migration(false)
        };
        build().map_err(|error| BindError::Setting { setting: "limits", reason: error.to_string() })
    }

    pub(super) fn io(&self, address: SocketAddr) -> io::Result<Provider> {
        Builder::default()
            .with_receive_address(address)?
            .with_max_mtu(self.mtu)?
            .with_gso(self.offload)?
            .with_gro(self.offload)?
            .with_send_buffer_size(SOCKET_BUFFER_BYTES)?
            .with_recv_buffer_size(SOCKET_BUFFER_BYTES)?
            .with_internal_send_buffer_size(SOCKET_QUEUE_BYTES)?
            .build()
    }
}

#[cfg(test)]
mod tests;
