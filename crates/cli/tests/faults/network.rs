//! Links between nodes: each has a namespace of its own, and all are joined by a bridge at which the clients sit.

use super::house::run;

pub fn address(node: usize) -> String {
    format!("10.77.0.{node}")
}

/// Prefix of a command that runs it in a node's namespace.
pub fn launcher(node: usize) -> [String; 3] {
    ["nsenter".to_owned(), format!("--net=/run/netns/n{node}"), "--".to_owned()]
}

pub fn build(nodes: usize) {
    run("ip", &["link", "set", "lo", "up"]);
    run("ip", &["link", "add", "br0", "type", "bridge"]);
    run("ip", &["addr", "add", "10.77.0.254/24", "dev", "br0"]);
    run("ip", &["link", "set", "br0", "up"]);
    for node in 1..=nodes {
        let (namespace, port) = (format!("n{node}"), format!("v{node}"));
        run("ip", &["netns", "add", &namespace]);
        run("ip", &["link", "add", &port, "type", "veth", "peer", "name", "e0", "netns", &namespace]);
        run("ip", &["link", "set", &port, "master", "br0", "up"]);
        run("ip", &["-n", &namespace, "addr", "add", &format!("{}/24", address(node)), "dev", "e0"]);
        for link in ["lo", "e0"] {
            run("ip", &["-n", &namespace, "link", "set", link, "up"]);
        }
    }
}

/// Nobody reaches the node, and it reaches nobody.
pub fn isolate(node: usize) {
    run("ip", &["link", "set", &format!("v{node}"), "down"]);
}

/// What `from` sends to `to` goes to a hardware address that nobody has: it vanishes without an error.
pub fn cut(from: usize, to: usize) {
    let nowhere = "02:00:00:00:00:01";
    let namespace = format!("n{from}");
    run(
        "ip",
        &["-n", &namespace, "neigh", "replace", &address(to), "lladdr", nowhere, "dev", "e0", "nud", "permanent"],
    );
}

/// Undoes everything.
pub fn heal(nodes: usize) {
    for node in 1..=nodes {
        run("ip", &["link", "set", &format!("v{node}"), "up"]);
        // Permanent entries are flushed only where they are asked for.
        run("ip", &["-n", &format!("n{node}"), "neigh", "flush", "nud", "permanent", "dev", "e0"]);
    }
}
