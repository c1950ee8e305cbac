//! How many requests a client may send: known by its token, otherwise by its address.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::listener::Peer;
use super::refusal::Refusal;

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
            let wait = until.wait_time_from(self.clock.now());
            Refusal::too_many(wait.as_secs_f64().ceil() as u64)
        })
    }
}

/// Counts requests without a token for their address. Those with one are counted where the token is checked.
pub async fn limit_addresses(
    State(limit): State<std::sync::Arc<RateLimit>>,
    peer: Option<axum::Extension<ConnectInfo<Peer>>>,
    request: Request,
    next: Next,
) -> Response {
    let probe = matches!(request.uri().path(), "/healthz" | "/readyz");
    if !probe
        && !request.headers().contains_key(AUTHORIZATION)
        && let Some(axum::Extension(ConnectInfo(Peer(peer)))) = peer
        && let Err(refusal) = limit.count(&Counted::address(peer.ip()))
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
