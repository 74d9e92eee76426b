//! Slices and budgets cover everything exactly once.

use super::*;

fn plan(clients: u32, threads: u32, keys: u32) -> Plan {
    Plan {
        addresses: vec![
            SocketAddr::from(([127, 0, 0, 1], 1)),
            SocketAddr::from(([127, 0, 0, 1], 2)),
        ],
        tls: None,
        password: None,
        length: Length::Requests(1_003),
        patience: Duration::from_secs(1),
        fill: false,
        seed: 1,
        load: Load {
            clients,
            pipeline: 1,
            threads,
            key_bytes: 16,
            value_bytes: 100,
            keys,
            read_share: 0.0,
            policy: None,
            wait: None,
            rate: None,
            verify: false,
        },
    }
}

#[test]
fn slices_are_disjoint_and_cover_all_keys() {
    for (clients, keys) in [(1, 1), (3, 10), (7, 7), (50, 100_000), (50, u32::MAX)] {
        let plan = plan(clients, 1, keys);
        let mut next = 0;
        for client in 0..clients {
            let slice = plan.slice_of(client);
            assert_eq!(slice.start, next);
            assert!(!slice.is_empty(), "client {client} of {clients} has none of {keys} keys");
            next = slice.end;
        }
        assert_eq!(next, keys);
    }
}

#[test]
fn budgets_add_up_to_all_requests() {
    let plan = plan(8, 4, 100);
    let budgets: Vec<u64> = (0..4).filter_map(|thread| plan.budget_of(thread)).collect();
    assert_eq!(budgets, [251, 251, 251, 250]);
}

#[test]
fn clients_are_dealt_to_threads_and_addresses_in_turn() {
    let plan = plan(5, 2, 100);
    assert_eq!(plan.clients_of(0).collect::<Vec<_>>(), [0, 2, 4]);
    assert_eq!(plan.clients_of(1).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(plan.address_of(3).port(), 2);
    assert_eq!(plan.address_of(4).port(), 1);
}
