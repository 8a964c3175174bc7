//! Where metrics are served: what `--metrics-addr` means.

use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use anyhow::Result;
use mcsnap::words::error::Error;

/// Reads an address; a port alone is one of the loopback interface, since who asks for no
/// more should not open a port to everybody.
pub(super) fn parse_address(text: &str) -> Result<Vec<SocketAddr>> {
    let wrong = |why: &str| Error::invalid_input("metrics-addr", text, why.to_owned());
    if let Ok(port) = text.parse::<u16>() {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into()]);
    }
    let has_form = text
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !has_form {
        let why = "wanted PORT, for this host alone, or ADDRESS:PORT; 0.0.0.0:PORT and [::]:PORT \
                   are for all hosts";
        return Err(wrong(why).into());
    }
    match text.to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) => Err(wrong(&format!("no such address: {error}")).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_for_this_host() {
        let parse = |text| parse_address(text).unwrap();
        assert_eq!(parse("9191"), ["127.0.0.1:9191".parse().unwrap()]);
        assert_eq!(parse("0.0.0.0:0"), ["0.0.0.0:0".parse().unwrap()]);
        assert_eq!(parse("[::1]:9191"), ["[::1]:9191".parse().unwrap()]);
        assert!(parse("localhost:9191").iter().all(|a| a.port() == 9191));
        for text in [
            "",
            ":9191",
            "99999",
            "host",
            "host:",
            "1.2.3.4:x",
            "http://a:1/",
        ] {
            let error = parse_address(text).unwrap_err().to_string();
            let wanted = format!("metrics-addr \"{text}\": wanted PORT, ");
            assert!(error.starts_with(&wanted), "{error}");
        }
    }
}
