//! Transports, links and peers as their users meet them, over memory and over QUIC.

#[cfg(test)]
mod compression;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod identity;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod raw;
#[cfg(test)]
mod world;

// Each contract, over each transport.
macro_rules! contracts {
    ($($of:ident::$name:ident),* $(,)?) => {
        mod over_memory {
            $(#[tokio::test]
            async fn $name() {
                crate::world::within(crate::$of::$name(&crate::world::World::memory())).await;
            })*
        }
        mod over_quic {
            $(#[tokio::test]
            async fn $name() {
                crate::world::within(crate::$of::$name(&crate::world::World::quic())).await;
            })*
        }
    };
}

contracts! {
    contract::messages_arrive_whole_and_in_order,
    contract::nothing_is_echoed,
    contract::both_sides_know_the_other,
    contract::a_message_past_the_limit_is_refused_and_the_link_lives,
    contract::a_closed_link_says_why,
    contract::a_stalled_lane_stalls_no_other,
    contract::a_slow_receiver_bounds_the_sender_and_loses_nothing,
    contract::a_cancelled_receive_loses_nothing,
    contract::a_stranger_is_refused,
    contract::nobody_there_is_an_error,
    contract::flush_means_received,
    peers::links_are_made_once_and_carry_messages,
    peers::a_lost_link_is_made_again_and_says_so,
    peers::sends_are_refused_before_they_are_lost,
    peers::a_held_lane_bounds_the_sender_and_frees_the_others,
    peers::shutdown_sends_what_was_queued,
    peers::a_dropped_owner_ends_the_links,
    peers::dropped_peers_end_the_events,
    peers::control_comes_first,
    peers::three_nodes_form_a_mesh,
    peers::the_wrong_caller_is_refused,
    compression::lz4_carries_messages,
    compression::zstd_carries_messages,
    compression::each_side_decides_what_it_sends,
    compression::one_that_says_nothing_is_sent_plain_messages,
    compression::a_message_at_the_limit_still_fits,
    compression::two_children_get_the_same_bytes,
    compression::a_bomb_ends_the_link,
}
