//! Which client, configured how, has which ring.

use crate::agents::Agent;
use crate::items::Keys;

/// One configuration of a client, and what `--ring` calls it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) agent: Agent,
    /// As the agent understands it, see tools/clients/README.md; of proxies, a part of
    /// their configuration.
    pub(crate) mode: &'static str,
    pub(crate) ring: &'static str,
    pub(crate) keys: Keys,
    /// What the client itself puts before each key, and does not hash.
    pub(crate) prefix: &'static str,
    /// Whether the client takes weights, in this mode.
    pub(crate) has_weights: bool,
}

const fn case(agent: Agent, mode: &'static str, ring: &'static str, keys: Keys) -> Case {
    Case {
        agent,
        mode,
        ring,
        keys,
        prefix: "",
        has_weights: true,
    }
}

const fn unweighted(agent: Agent, mode: &'static str, ring: &'static str, keys: Keys) -> Case {
    Case {
        has_weights: false,
        ..case(agent, mode, ring, keys)
    }
}

const fn prefixed(prefix: &'static str, case: Case) -> Case {
    Case { prefix, ..case }
}

/// Weights that are left out are those that the client has none for, does not look
/// at, or takes for a wish for another ring (libmemcached's `consistent`).
pub(crate) const CASES: [Case; 45] = {
    use Agent as A;
    use Keys::{Ascii, Bytes, Ids, Text};
    [
        unweighted(A::Libmemcached, "default", "libmemcached", Bytes),
        unweighted(
            A::Libmemcached,
            "consistent",
            "libmemcached:consistent",
            Bytes,
        ),
        case(
            A::Libmemcached,
            "ketama-weighted",
            "libmemcached:ketama-weighted",
            Bytes,
        ),
        unweighted(
            A::Libmemcached,
            "ketama-spy",
            "libmemcached:ketama-spy",
            Bytes,
        ),
        unweighted(
            A::Libmemcached,
            "sort-hosts",
            "libmemcached:sort-hosts",
            Bytes,
        ),
        unweighted(A::PhpMemcached, "default", "php-memcached", Ascii),
        unweighted(
            A::PhpMemcached,
            "consistent",
            "php-memcached:consistent",
            Ascii,
        ),
        case(
            A::PhpMemcached,
            "ketama-compatible",
            "php-memcached:ketama-compatible",
            Ascii,
        ),
        unweighted(
            A::PhpMemcached,
            "ketama-then-consistent",
            "php-memcached:ketama-then-consistent",
            Ascii,
        ),
        prefixed(
            "app1:",
            case(
                A::PhpMemcached,
                "ketama-compatible-prefix",
                "php-memcached:ketama-compatible,prefix=app1:",
                Ascii,
            ),
        ),
        prefixed(
            "memc.sess.key.",
            unweighted(A::PhpSession, "default", "php-memcached:session", Ids),
        ),
        unweighted(A::Pylibmc, "default", "pylibmc", Bytes),
        unweighted(A::Pylibmc, "ketama", "pylibmc:ketama", Bytes),
        case(
            A::Pylibmc,
            "ketama-weighted",
            "pylibmc:ketama-weighted",
            Bytes,
        ),
        case(A::PhpMemcache, "consistent", "php-memcache", Bytes),
        case(
            A::PhpMemcache,
            "consistent-fnv",
            "php-memcache:consistent-fnv",
            Bytes,
        ),
        case(A::PhpMemcache, "standard", "php-memcache:standard", Bytes),
        case(
            A::PhpMemcache,
            "standard-fnv",
            "php-memcache:standard-fnv",
            Bytes,
        ),
        case(A::Dalli, "default", "dalli", Bytes),
        case(A::PythonMemcached, "default", "python-memcached", Bytes),
        case(
            A::PythonMemcached,
            "old-hash",
            "python-memcached:old-hash",
            Bytes,
        ),
        case(
            A::PythonMemcached159,
            "default",
            "python-memcached:1.59",
            Bytes,
        ),
        case(A::CacheMemcached, "default", "perl-cache-memcached", Bytes),
        case(
            A::CacheMemcachedFast,
            "default",
            "perl-cache-memcached-fast",
            Bytes,
        ),
        case(
            A::CacheMemcachedFast,
            "ketama-150",
            "perl-cache-memcached-fast:ketama-150",
            Bytes,
        ),
        case(A::Gomemcache, "default", "gomemcache", Ascii),
        unweighted(A::Pymemcache, "default", "pymemcache", Text),
        unweighted(A::Pymemcache, "bytes-keys", "pymemcache:bytes-keys", Bytes),
        prefixed(
            "app1:",
            unweighted(A::Pymemcache, "prefix", "pymemcache,prefix=app1:", Text),
        ),
        unweighted(
            A::PythonBinaryMemcached,
            "default",
            "python-binary-memcached",
            Text,
        ),
        unweighted(A::Spymemcached, "default", "spymemcached", Text),
        unweighted(A::Spymemcached, "ketama", "spymemcached:ketama", Text),
        case(A::NodeMemcached, "default", "node-memcached", Text),
        case(
            A::NodeMemcached,
            "hash-ring",
            "node-memcached:hash-ring",
            Text,
        ),
        unweighted(A::Memjs, "default", "memjs", Text),
        case(A::Nutcracker, "ketama", "twemproxy", Text),
        case(A::Nutcracker, "modula", "twemproxy:modula", Text),
        case(A::Nutcracker, "ketama,md5", "twemproxy,hash=md5", Text),
        case(
            A::Nutcracker,
            "modula,murmur,{}",
            "twemproxy:modula,hash=murmur2,tag={}",
            Text,
        ),
        unweighted(A::MemcachedProxy, "nil", "memcached-proxy", Text),
        unweighted(
            A::MemcachedProxy,
            "{ filter = 'tags', filter_conf = '{}' }",
            "memcached-proxy,tag={}",
            Text,
        ),
        unweighted(
            A::MemcachedProxy,
            "{ hash = mcp.dist_ring_hash.hash }",
            "memcached-proxy:jump-ketama",
            Text,
        ),
        unweighted(
            A::MemcachedProxy,
            "{ dist = mcp.dist_ring_hash }",
            "memcached-proxy:ring",
            Text,
        ),
        unweighted(
            A::MemcachedProxy,
            "{ dist = mcp.dist_ring_hash, omode = 'ketama' }",
            "memcached-proxy:ring-ketama",
            Text,
        ),
        unweighted(
            A::MemcachedProxy,
            "{ dist = mcp.dist_ring_hash, omode = 'twemproxy', hash = mcp.dist_ring_hash.hash }",
            "memcached-proxy:ring-twemproxy,hash=md5",
            Text,
        ),
    ]
};
