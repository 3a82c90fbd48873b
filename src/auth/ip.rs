//! The scheme `ip`: the client's address (`IPAuthenticationProvider`).
//!
//! Every connection has its address as an id from the start. An ACL names an address or a network
//! (`10.1.0.0/16`); only addresses of the same family match. The parsers are Java's own, which differ
//! from the usual ones: no dotted quad inside IPv6, signs before numbers allowed.

use std::net::{IpAddr, SocketAddr};

use super::{AuthContext, AuthenticationProvider, MatchValues};
use crate::proto::{Code, Id};

/// The provider of the scheme `ip`.
#[derive(Debug, Clone, Copy, Default)]
pub struct IpAuthenticationProvider;

impl IpAuthenticationProvider {
    /// The id of a client.
    #[must_use]
    pub fn id(remote: &SocketAddr) -> Id {
        Id::new("ip", &host_address(remote))
    }
}

impl AuthenticationProvider for IpAuthenticationProvider {
    fn scheme(&self) -> &str {
        "ip"
    }

    fn handle_authentication(&self, context: &mut AuthContext<'_>, _auth: Option<&[u8]>) -> Code {
        let id = IpAuthenticationProvider::id(&context.remote);
        context.add_auth_info(id);
        Code::Ok
    }

    fn matches(&self, values: &MatchValues<'_>) -> bool {
        let Some(network) = Network::parse(values.acl_expr) else { return false };
        parse_address(values.id).is_some_and(|address| network.contains(&address))
    }

    fn is_authenticated(&self) -> bool {
        false
    }

    fn is_valid(&self, id: &str) -> bool {
        Network::parse(id).is_some()
    }
}

/// An address as `InetAddress.getHostAddress` prints it: IPv6 in full (`0:0:0:0:0:0:0:1`), with the
/// scope if there is one, IPv4 also where the socket says it as IPv6.
#[must_use]
pub fn host_address(address: &SocketAddr) -> String {
    match (address.ip().to_canonical(), address) {
        (IpAddr::V4(ip), _) => ip.to_string(),
        (IpAddr::V6(ip), SocketAddr::V6(socket)) if socket.scope_id() != 0 => {
            format!("{}%{}", segments(ip.segments()), socket.scope_id())
        }
        (IpAddr::V6(ip), _) => segments(ip.segments()),
    }
}

fn segments(segments: [u16; 8]) -> String {
    segments.map(|segment| format!("{segment:x}")).join(":")
}

/// The address of an HTTP client: with `use_x_forwarded_for`
/// (`IPAuthenticationProvider.usexforwardedfor`) the first one in the header `X-Forwarded-For`.
#[must_use]
pub fn client_ip_address(
    remote: &SocketAddr,
    x_forwarded_for: Option<&str>,
    use_x_forwarded_for: bool,
) -> String {
    x_forwarded_for
        .filter(|_| use_x_forwarded_for)
        .and_then(|header| header.split(',').find(|part| !part.is_empty()))
        .map_or_else(|| host_address(remote), |client| client.trim_matches(|c| c <= ' ').to_owned())
}

/// An address and how many of its bits count.
struct Network {
    address: Vec<u8>,
    bits: usize,
}

impl Network {
    fn parse(expr: &str) -> Option<Network> {
        let (address, bits) = match expr.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (expr, None),
        };
        let address = parse_address(address)?;
        let bits_max = address.len() * 8;
        let bits = match bits {
            Some(text) => text.parse::<i32>().ok().and_then(|bits| usize::try_from(bits).ok())?,
            None => bits_max,
        };
        (bits <= bits_max).then_some(Network { address, bits })
    }

    fn contains(&self, address: &[u8]) -> bool {
        if self.address.len() != address.len() {
            return false;
        }
        let mut bits = self.bits;
        self.address.iter().zip(address).all(|(ours, theirs)| {
            let counting = bits.min(8);
            bits -= counting;
            // A shift by 8 leaves nothing to compare.
            u32::from(ours ^ theirs) >> (8 - counting) == 0
        })
    }
}

/// The bytes of an address: 4 or 16.
fn parse_address(text: &str) -> Option<Vec<u8>> {
    if text.contains(':') {
        parse_v6(text)
    } else if text.contains('.') {
        parse_v4(text)
    } else {
        None
    }
}

fn parse_v4(text: &str) -> Option<Vec<u8>> {
    let bytes: Option<Vec<u8>> = text
        .split('.')
        .map(|part| part.parse::<i32>().ok().and_then(|value| u8::try_from(value).ok()))
        .collect();
    bytes.filter(|bytes| bytes.len() == 4)
}

fn parse_v6(text: &str) -> Option<Vec<u8>> {
    let mut halves = text.split("::");
    let before = parse_segments(halves.next().unwrap_or_default());
    let after = halves.next().map(parse_segments);
    if halves.next().is_some() {
        return None;
    }
    let before = before?;
    let Some(after) = after else {
        // A full address; an empty text has no segments, so it is refused too.
        return (before.len() == 16).then_some(before);
    };
    let after = after?;
    if before.len() + after.len() >= 16 {
        return None;
    }
    let mut address = before;
    address.resize(16 - after.len(), 0);
    address.extend(after);
    Some(address)
}

/// The bytes of segments between colons; none of an empty text. Segments of one to four characters,
/// read as `Integer.parseInt(…, 16)` does: a sign is one of them.
fn parse_segments(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(16);
    if text.is_empty() {
        return Some(bytes);
    }
    for segment in text.split(':') {
        if segment.len() > 4 {
            return None;
        }
        let value = i32::from_str_radix(segment, 16).ok()?;
        bytes.extend((value as u16).to_be_bytes());
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;

    use super::*;

    fn matches(id: &str, acl_expr: &str) -> bool {
        let values = MatchValues { path: None, id, acl_expr, perm: 1, set_acls: None };
        IpAuthenticationProvider.matches(&values)
    }

    #[test]
    fn expressions_are_valid_as_in_java() {
        for id in [
            "127.0.0.1",
            "+1.2.3.4",
            "-0.1.2.3",
            "1.2.3.4/32",
            "1.2.3.4/0",
            "1.2.3.4/+8",
            "1.2.3.4/-0",
            "::1",
            "::",
            "1::",
            "1:2:3:4:5:6:7:8",
            "::1/128",
            "+1::",
            "-1::",
            "-fff::",
            "1:2:3:4:5:6:7::",
            "1:2:3:4:5:6::8",
            "01.02.03.004",
            "::2:3:4:5:6:7:8",
        ] {
            assert!(IpAuthenticationProvider.is_valid(id), "{id}");
        }
        for id in [
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.4/",
            "1.2.3.4/33",
            "1.2.3.4/8/9",
            "1:2:3:4:5:6:7",
            "1::2::3",
            ":::",
            "1:::2",
            "::1/129",
            "12345::",
            "g::",
            ":1",
            "1:",
            "::ffff:1.2.3.4",
            "localhost",
            "",
            "/8",
            "1..2.3",
            "1.2.3.4:5",
            " 1.2.3.4",
            "1.2.3.4/ 8",
            "fe80::1%eth0",
            "1.2.3.4/2147483648",
        ] {
            assert!(!IpAuthenticationProvider.is_valid(id), "{id}");
        }
    }

    #[test]
    fn networks_match_as_in_java() {
        let check = |id, acl_expr, expected| {
            assert_eq!(matches(id, acl_expr), expected, "{id} {acl_expr}");
        };
        check("10.1.2.3", "10.1.0.0/16", true);
        check("10.2.2.3", "10.1.0.0/16", false);
        check("10.1.2.3", "10.1.99.99/16", true);
        check("10.1.2.3", "0.0.0.0/0", true);
        check("10.1.2.3", "::/0", false);
        check("0:0:0:0:0:0:0:1", "0.0.0.0/0", false);
        check("0:0:0:0:0:0:0:1", "::1", true);
        check("0:0:0:0:0:0:0:1", "::/0", true);
        check("0:0:0:0:0:0:0:1", "::1/64", true);
        check("10.1.2.255", "10.1.2.128/25", true);
        check("10.1.2.127", "10.1.2.128/25", false);
        check("2001:db8:0:0:0:0:0:5", "2001:db8::/33", true);
        check("2001:db8:8000:0:0:0:0:5", "2001:db8::/33", false);
        check("bad", "10.1.0.0/16", false);
        check("10.1.2.3", "bad", false);
        check("fe80:0:0:0:0:0:0:1%2", "fe80::/10", false);
        check("127.0.0.1", "127.0.0.1", true);
        check("127.0.0.1", "+127.0.0.1", true);
        check("127.0.0.1", "127.0.0.1/31", true);
    }

    #[test]
    fn addresses_are_printed_as_java_does() {
        let check = |address: &str, expected| {
            assert_eq!(host_address(&address.parse().unwrap()), expected, "{address}");
        };
        check("[::1]:1", "0:0:0:0:0:0:0:1");
        check("[fe80::1]:1", "fe80:0:0:0:0:0:0:1");
        check("[fe80::1%2]:1", "fe80:0:0:0:0:0:0:1%2");
        check("[2001:db8::ff00:42:8329]:1", "2001:db8:0:0:0:ff00:42:8329");
        check("[::ffff:1.2.3.4]:1", "1.2.3.4");
        check("10.0.0.1:1", "10.0.0.1");
    }

    #[test]
    fn forwarded_address_is_used_when_asked_for() {
        let remote = "10.0.0.1:1".parse().unwrap();
        let check = |header, is_used, expected| {
            assert_eq!(client_ip_address(&remote, header, is_used), expected);
        };
        check(None, true, "10.0.0.1");
        check(Some("1.1.1.1, 2.2.2.2"), false, "10.0.0.1");
        check(Some(" 1.1.1.1 , 2.2.2.2"), true, "1.1.1.1");
        check(Some(",2.2.2.2"), true, "2.2.2.2");
        check(Some(","), true, "10.0.0.1");
    }

    proptest! {
        #[test]
        fn v4_networks_are_those_of_arithmetic(ours: u32, flip: u32, bits in 0..=32u32) {
            // Few flipped bits, so that both answers come up.
            let theirs = ours ^ (flip.checked_shr(bits.saturating_sub(1)).unwrap_or(0));
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let expr = format!("{}/{bits}", Ipv4Addr::from(ours));
            let expected = ours & mask == theirs & mask;
            prop_assert_eq!(matches(&Ipv4Addr::from(theirs).to_string(), &expr), expected);
        }

        #[test]
        fn v6_networks_are_those_of_arithmetic(ours: u128, flip: u128, bits in 0..=128u32) {
            let theirs = ours ^ (flip.checked_shr(bits.saturating_sub(1)).unwrap_or(0));
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let expr = format!("{}/{bits}", segments(Ipv6Addr::from(ours).segments()));
            let theirs_text = segments(Ipv6Addr::from(theirs).segments());
            prop_assert_eq!(matches(&theirs_text, &expr), ours & mask == theirs & mask);
        }

        #[test]
        fn v6_addresses_without_quads_are_read_as_usual(address: u128, zeros in 0..=128u32) {
            let address = Ipv6Addr::from(address.checked_shr(zeros).unwrap_or(0));
            let text = address.to_string();
            let expected = (!text.contains('.')).then(|| address.octets().to_vec());
            prop_assert_eq!(parse_address(&text), expected);
        }

        #[test]
        fn no_text_is_a_surprise(id in ".{0,30}", expr in "[0-9a-f:./+-]{0,30}") {
            let _ = matches(&id, &expr);
            let _ = matches(&expr, &id);
        }
    }
}
