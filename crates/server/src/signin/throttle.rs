//! Slows failed sign-ins down, with a memory of fixed size.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::http::limit::Counted;

/// How many failures are free for one client at one address, and for one address in all.
const FREE_PAIR: u32 = 5;
const FREE_ADDRESS: u32 = 25;
/// Failures are forgotten after this time without a further one.
const MEMORY: Duration = Duration::from_secs(900);
const LONGEST: Duration = Duration::from_secs(300);
const MAX_ENTRIES: usize = 20_000;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    address: Counted,
    client_id: Option<String>,
}

struct Failures {
    count: u32,
    last: Instant,
}

/// Counts failed sign-ins by client and address.
#[derive(Default)]
pub struct Throttle(Mutex<HashMap<Key, Failures>>);

impl Throttle {
    /// How long this client at this address has to wait before it is heard again, if it has to.
    pub fn wait(&self, client_id: &str, address: IpAddr) -> Option<Duration> {
        let kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let [pair, alone] = keys(client_id, address);
        let waits = [(pair, FREE_PAIR), (alone, FREE_ADDRESS)].into_iter().filter_map(|(key, free)| {
            let failures = kept.get(&key)?;
            let over = failures.count.checked_sub(free)?;
            let pause = Duration::from_secs(1 << over.min(20)).min(LONGEST);
            pause.checked_sub(failures.last.elapsed()).filter(|wait| !wait.is_zero())
        });
        waits.max()
    }

    /// Notes a failure.
    pub fn failed(&self, client_id: &str, address: IpAddr) {
        let mut kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        if kept.len() + 2 > MAX_ENTRIES {
            forget(&mut kept, now);
        }
        for key in keys(client_id, address) {
            let failures = kept.entry(key).or_insert(Failures { count: 0, last: now });
            if now.duration_since(failures.last) > MEMORY {
                failures.count = 0;
            }
            failures.count = failures.count.saturating_add(1);
            failures.last = now;
        }
    }

    /// Notes a success: the client's earlier failures at this address do not count any more.
    pub fn succeeded(&self, client_id: &str, address: IpAddr) {
        let mut kept = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let [pair, _] = keys(client_id, address);
        kept.remove(&pair);
    }
}

fn keys(client_id: &str, address: IpAddr) -> [Key; 2] {
    let address = Counted::address(address);
    // Ids come from strangers: what is longer than any real one counts together.
    let client_id = client_id.chars().take(100).collect();
    [Key { address: address.clone(), client_id: Some(client_id) }, Key { address, client_id: None }]
}

/// Makes room: what is old goes, and if all is new, the half that failed least recently.
fn forget(kept: &mut HashMap<Key, Failures>, now: Instant) {
    kept.retain(|_, failures| now.duration_since(failures.last) <= MEMORY);
    if kept.len() + 2 > MAX_ENTRIES {
        let mut times: Vec<Instant> = kept.values().map(|failures| failures.last).collect();
        times.sort_unstable();
        if let Some(middle) = times.get(times.len() / 2).copied() {
            kept.retain(|_, failures| failures.last > middle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    #[tokio::test(start_paused = true)]
    async fn failures_cost_more_and_more_time_and_only_where_they_happened() {
        let throttle = Throttle::default();
        for _ in 0..4 {
            throttle.failed("one", HERE);
        }
        assert_eq!(throttle.wait("one", HERE), None);
        throttle.failed("one", HERE);
        assert_eq!(throttle.wait("one", HERE), Some(Duration::from_secs(1)));
        throttle.failed("one", HERE);
        assert_eq!(throttle.wait("one", HERE), Some(Duration::from_secs(2)));
        assert_eq!((throttle.wait("one", THERE), throttle.wait("two", HERE)), (None, None));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(throttle.wait("one", HERE), None);
        throttle.succeeded("one", HERE);
        throttle.failed("one", HERE);
        assert_eq!(throttle.wait("one", HERE), None);
    }

    #[tokio::test(start_paused = true)]
    async fn guessing_ids_from_one_address_is_slowed_too() {
        let throttle = Throttle::default();
        (0..25).for_each(|number| throttle.failed(&format!("client-{number}"), HERE));
        assert!(throttle.wait("another", HERE).is_some());
        assert_eq!(throttle.wait("another", THERE), None);
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded() {
        let throttle = Throttle::default();
        for number in 0..3 * MAX_ENTRIES {
            throttle.failed(&format!("client-{number}"), HERE);
            if number % 1000 == 0 {
                tokio::time::advance(Duration::from_millis(1)).await;
            }
        }
        assert!(throttle.0.lock().expect("unpoisoned").len() <= MAX_ENTRIES);
    }
}
