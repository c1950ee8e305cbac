//! Calling out: one HTTP client that refuses private, loopback and link-local addresses unless the configuration
//! allows the host or network, follows no redirect, and uses no proxy.
//!
//! The check is made on the addresses to which a name resolves, at the moment of connecting, so that a name that is
//! pointed elsewhere later gains nothing.

use std::error::Error;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use url::{Host, Url};

/// Which hosts may be called although their addresses are not public.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    hosts: Vec<String>,
    networks: Vec<IpNet>,
}

/// Why an address is not called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not http or https, or without a host.
    #[error("{0} is not an http or https address with a host")]
    Scheme(String),
    /// Credentials in an address end up in logs.
    #[error("the address must not hold a user name or password")]
    Credentials,
    /// Plain http outside of what is allowed.
    #[error("{0} is plain http: use https, or allow the host in egress.allow")]
    Plain(String),
    /// The address is not public.
    #[error("{0} is not a public address; allow it in egress.allow if it is meant")]
    Private(String),
}

impl Allowed {
    /// Reads host names, addresses and networks.
    pub fn new(entries: &[String]) -> Allowed {
        let mut allowed = Allowed::default();
        for entry in entries.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty()) {
            if let Ok(network) = entry.parse::<IpNet>() {
                allowed.networks.push(network);
            } else if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
                allowed.networks.push(IpNet::from(address));
            } else {
                allowed.hosts.push(entry.to_ascii_lowercase());
            }
        }
        allowed
    }

    fn host(&self, host: &str) -> bool {
        self.hosts.iter().any(|allowed| allowed == &host.to_ascii_lowercase())
    }

    fn address(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether an address of a host may be connected to.
    fn reaches(&self, host: &str, address: IpAddr) -> bool {
        is_public(address) || self.host(host) || self.address(address)
    }

    /// Checks an address before it is called. Plain http may also go to a name that leads into allowed networks alone.
    pub async fn admit(&self, url: &Url) -> Result<(), Refusal> {
        match self.check(url) {
            Err(Refusal::Plain(_)) if self.leads_inside(url).await => Ok(()),
            checked => checked,
        }
    }

    async fn leads_inside(&self, url: &Url) -> bool {
        let Some(Host::Domain(host)) = url.host() else { return false };
        let Ok(found) = tokio::net::lookup_host((host, 0)).await else { return false };
        let found: Vec<SocketAddr> = found.collect();
        !found.is_empty() && found.iter().all(|address| self.address(address.ip()))
    }

    /// Checks what can be seen of an address without resolving it.
    fn check(&self, url: &Url) -> Result<(), Refusal> {
        let (Some(host), "http" | "https") = (url.host(), url.scheme()) else {
            return Err(Refusal::Scheme(url.to_string()));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::Credentials);
        }
        let literal = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        let host = url.host_str().unwrap_or_default();
        // A resolver never sees a literal address, so it is checked here.
        if let Some(address) = literal.filter(|address| !self.reaches(host, *address)) {
            return Err(Refusal::Private(address.to_string()));
        }
        let allowed = self.host(host) || literal.is_some_and(|address| self.address(address));
        if url.scheme() == "http" && !allowed {
            return Err(Refusal::Plain(url.to_string()));
        }
        Ok(())
    }
}

/// A client for calls to partners, each of at most `timeout`.
pub fn client(allowed: Allowed, timeout: Duration) -> reqwest::Result<reqwest::Client> {
    builder(allowed, timeout).timeout(timeout).build()
}

/// A client for answers that may take any time: whoever reads them looks after that himself. A connection is made within
/// `timeout`.
pub fn streaming_client(allowed: Allowed, timeout: Duration) -> reqwest::Result<reqwest::Client> {
    builder(allowed, timeout).build()
}

fn builder(allowed: Allowed, timeout: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .dns_resolver(Arc::new(GuardedResolver { allowed }))
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(timeout)
        .user_agent(concat!("dipper/", env!("CARGO_PKG_VERSION")))
}

struct GuardedResolver {
    allowed: Allowed,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.allowed.clone();
        Box::pin(async move {
            let host = name.as_str().to_owned();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            let reachable: Vec<SocketAddr> =
                found.into_iter().filter(|address| allowed.reaches(&host, address.ip())).collect();
            if reachable.is_empty() {
                return Err(Box::new(Refusal::Private(host)) as Box<dyn Error + Send + Sync>);
            }
            Ok(Box::new(reachable.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is reachable from everywhere: not one of the special-purpose blocks of RFC 6890 and its
/// registries.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [first, second, third, _] = address.octets();
            !(address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_broadcast()
                || address.is_multicast()
                || address.is_documentation()
                || first == 0
                || first >= 240
                || (first == 100 && (64..128).contains(&second)) // shared address space, RFC 6598
                || (first == 192 && second == 0 && third == 0)
                || (first == 198 && (second == 18 || second == 19))) // benchmarking, RFC 2544
        }
        IpAddr::V6(address) => {
            let [first, second, ..] = address.segments();
            !(address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || (first == 0x2001 && second == 0x0db8)
                // NAT64 and 6to4 hold an IPv4 address that would have to be checked in turn.
                || (first == 0x0064 && second == 0xff9b)
                || first == 0x2002)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(allow: &[&str], url: &str) -> Result<(), Refusal> {
        let allow: Vec<String> = allow.iter().map(|entry| (*entry).to_owned()).collect();
        Allowed::new(&allow).check(&Url::parse(url).expect("a test address"))
    }

    #[test]
    fn addresses_that_are_not_public_are_refused() {
        let private = [
            "127.0.0.1",
            "127.1.2.3",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
            "192.0.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "[::1]",
            "[::]",
            "[fc00::1]",
            "[fe80::1]",
            "[ff02::1]",
            "[::ffff:127.0.0.1]",
            "[64:ff9b::7f00:1]",
            "[2002:7f00:1::]",
            "0x7f.1",
            "2130706433",
            "017700000001",
        ];
        for host in private {
            let refused = check(&[], &format!("https://{host}/hook"));
            assert!(matches!(refused, Err(Refusal::Private(_))), "{host}: {refused:?}");
        }
        for host in ["93.184.216.34", "[2606:2800:220:1:248:1893:25c8:1946]", "example.org"] {
            assert_eq!(check(&[], &format!("https://{host}/hook")), Ok(()), "{host}");
        }
    }

    #[test]
    fn what_is_allowed_may_be_private_and_plain() {
        assert_eq!(check(&["127.0.0.0/8"], "http://127.0.0.1:8000/"), Ok(()));
        assert_eq!(check(&["127.0.0.1"], "http://127.0.0.1:8000/"), Ok(()));
        assert_eq!(check(&["[::1]"], "http://[::1]:8000/"), Ok(()));
        assert_eq!(check(&["Hooks.Example"], "http://hooks.example/"), Ok(()));
        assert!(matches!(check(&["10.0.0.0/8"], "http://127.0.0.1/"), Err(Refusal::Private(_))));
        assert!(matches!(check(&["hooks.example"], "http://other.example/"), Err(Refusal::Plain(_))));
        assert!(matches!(check(&[], "ftp://example.org/"), Err(Refusal::Scheme(_))));
        assert_eq!(check(&[], "https://user:word@example.org/"), Err(Refusal::Credentials));
    }

    #[tokio::test]
    async fn plain_http_goes_to_names_that_lead_into_allowed_networks_alone() {
        let url = Url::parse("http://localhost:8000/hook").expect("a test address");
        let allowed =
            |entries: &[&str]| Allowed::new(&entries.iter().map(|entry| (*entry).to_owned()).collect::<Vec<_>>());
        assert_eq!(allowed(&["127.0.0.0/8", "::1"]).admit(&url).await, Ok(()));
        assert!(matches!(allowed(&["10.0.0.0/8"]).admit(&url).await, Err(Refusal::Plain(_))));
        assert!(matches!(allowed(&[]).admit(&url).await, Err(Refusal::Plain(_))));
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_a_private_address_is_not_connected_to() {
        let client = client(Allowed::default(), Duration::from_secs(10)).expect("a client");
        let error = client.get("https://localhost/").send().await.expect_err("localhost is private");
        let mut cause: Option<&dyn Error> = Some(&error);
        let mut texts = String::new();
        while let Some(error) = cause {
            texts.push_str(&error.to_string());
            cause = error.source();
        }
        assert!(texts.contains("not a public address"), "{texts}");
    }
}
