//! How many requests a client may send: known by its token, otherwise by its address.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{ConnectInfo, MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::listener::Peer;
use super::refusal::Refusal;
use crate::metrics;

/// Whom a request counts for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// A client whose token was good.
    Client(String),
    /// An address; of IPv6 the network, because one machine has all addresses in it.
    Address(IpAddr),
}

impl Counted {
    /// The address, as far as it tells machines apart.
    pub fn address(address: IpAddr) -> Counted {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) & (u128::MAX << 64);
                Counted::Address(IpAddr::V6(network.into()))
            }
            address => Counted::Address(address),
        }
    }
}

/// Counts requests, with a memory that does not grow with the number of clients ever seen.
pub struct RateLimit {
    limiter: Option<DefaultKeyedRateLimiter<Counted>>,
    clock: DefaultClock,
    counted: AtomicU32,
}

impl RateLimit {
    /// So many requests a second for long, and so many at once; 0 a second for no limit.
    pub fn new(per_second: u32, burst: u32) -> RateLimit {
        let quota = NonZeroU32::new(per_second)
            .map(|rate| Quota::per_second(rate).allow_burst(NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN)));
        RateLimit { limiter: quota.map(RateLimiter::keyed), clock: DefaultClock::default(), counted: AtomicU32::new(0) }
    }

    /// Counts one request, or says when to come back.
    pub fn count(&self, whom: &Counted) -> Result<(), Refusal> {
        let Some(limiter) = &self.limiter else { return Ok(()) };
        if self.counted.fetch_add(1, Ordering::Relaxed) % 4096 == 4095 {
            // Whoever has been silent long enough to be free again is forgotten.
            limiter.retain_recent();
        }
        limiter.check_key(whom).map_err(|until| {
            metrics::rate_limited(match whom {
                Counted::Client(_) => "client",
                Counted::Address(_) => "address",
            });
            let wait = until.wait_time_from(self.clock.now());
            Refusal::too_many(wait)
        })
    }
}

/// What is counted for addresses.
#[derive(Clone)]
pub struct ByAddress {
    /// Counts.
    pub limit: Arc<RateLimit>,
    /// The beginnings of routes that are not counted here: those of the contracts, whose permits count, and probes.
    pub except: Arc<Vec<String>>,
}

/// Counts requests for the address that they come from.
pub async fn limit_addresses(
    State(by_address): State<ByAddress>,
    peer: Option<axum::Extension<ConnectInfo<Peer>>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let except = by_address.except.iter().any(|beginning| route.starts_with(beginning.as_str()));
    if !except
        && let Some(axum::Extension(ConnectInfo(Peer(peer)))) = peer
        && let Err(refusal) = by_address.limit.count(&Counted::address(peer.ip()))
    {
        return refusal.into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_has_its_own_count() {
        let limit = RateLimit::new(1, 2);
        let (one, two) = (Counted::Client("one".to_owned()), Counted::Client("two".to_owned()));
        assert!(limit.count(&one).is_ok() && limit.count(&one).is_ok());
        assert_eq!(limit.count(&one).expect_err("the burst is used up").status.as_u16(), 429);
        assert!(limit.count(&two).is_ok());
        let none = RateLimit::new(0, 1);
        assert!((0..100).all(|_| none.count(&one).is_ok()));
    }

    #[test]
    fn addresses_of_one_machine_count_together() {
        let counted = |text: &str| Counted::address(text.parse().expect("an address"));
        assert_eq!(counted("2001:db8::1"), counted("2001:db8::2:3"));
        assert_ne!(counted("2001:db8:0:1::1"), counted("2001:db8::1"));
        assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
        assert_ne!(counted("192.0.2.2"), counted("192.0.2.1"));
    }
}
