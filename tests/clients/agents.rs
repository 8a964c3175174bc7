//! The programs of tools/clients, and how each is run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, Item};
use crate::items::write_items;
use crate::memcached::Memcached;
use crate::memcached_proxy;
use crate::nutcracker::{self, Nutcracker};
use crate::workdir::{Run, Workdir};

const SPYMEMCACHED: &str = "/usr/share/java/spymemcached.jar";

/// As many keys an agent names.
const FIRST_MAX: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    CacheMemcached,
    CacheMemcachedFast,
    Dalli,
    Gomemcache,
    Libmemcached,
    MemcachedProxy,
    Memjs,
    NodeMemcached,
    Nutcracker,
    PhpMemcache,
    PhpMemcached,
    PhpSession,
    Pylibmc,
    Pymemcache,
    PythonBinaryMemcached,
    PythonMemcached,
    PythonMemcached159,
    Spymemcached,
}

/// What became of the keys that an agent was to store.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Written {
    pub(crate) stored: usize,
    pub(crate) refused: usize,
    /// Some of those that are not stored, in hexadecimal.
    pub(crate) first: Vec<String>,
}

/// What became of the keys that an agent looked for.
#[derive(Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Found {
    pub(crate) equal: usize,
    pub(crate) different: usize,
    pub(crate) missing: usize,
    /// Some of those that are not equal, in hexadecimal.
    pub(crate) first: Vec<String>,
}

impl Agent {
    /// The name and the version of the library.
    pub(crate) fn version(self, workdir: &Workdir) -> String {
        if self == Agent::Nutcracker {
            return nutcracker::version();
        }
        if self == Agent::MemcachedProxy {
            return memcached_proxy::version();
        }
        let output = self.run(workdir).arg("version").run();
        let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(
            output.status.success() && !text.is_empty(),
            "{self:?} does not work; tools/setup --clients installs it:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// Has the library store items on servers like `host:port*weight`.
    pub(crate) fn write(
        self,
        workdir: &Workdir,
        mode: &str,
        items: &[Item],
        servers: &[String],
    ) -> Written {
        let Some(proxy) = self.proxy(workdir, mode, servers) else {
            return self.job(workdir, "write", mode, items, servers);
        };
        let mut client = proxy.client();
        for item in items {
            // A refusal panics.
            client.set(text_of(item), item.flags, item.ttl, &item.value);
        }
        Written {
            stored: items.len(),
            ..Written::default()
        }
    }

    /// Has the library look for items on servers like `host:port*weight`.
    pub(crate) fn read(
        self,
        workdir: &Workdir,
        mode: &str,
        items: &[Item],
        servers: &[String],
    ) -> Found {
        let Some(proxy) = self.proxy(workdir, mode, servers) else {
            return self.job(workdir, "read", mode, items, servers);
        };
        let mut client = proxy.client();
        let mut found = Found::default();
        for item in items {
            let count = match client.get(text_of(item)) {
                Some((_, value)) if value == item.value => {
                    found.equal += 1;
                    continue;
                }
                Some(_) => &mut found.different,
                None => &mut found.missing,
            };
            *count += 1;
            if found.first.len() < FIRST_MAX {
                let digits = item.key.iter().map(|byte| format!("{byte:02x}"));
                found.first.push(digits.collect());
            }
        }
        found
    }

    fn proxy(self, workdir: &Workdir, mode: &str, servers: &[String]) -> Option<Box<dyn Proxy>> {
        let folder = workdir.path();
        if self == Agent::Nutcracker {
            Some(Box::new(Nutcracker::start(folder, mode, servers)))
        } else if self == Agent::MemcachedProxy {
            Some(Box::new(memcached_proxy::start(folder, mode, servers)))
        } else {
            None
        }
    }

    fn job<T: DeserializeOwned>(
        self,
        workdir: &Workdir,
        job: &str,
        mode: &str,
        items: &[Item],
        servers: &[String],
    ) -> T {
        let path = workdir.join("items");
        write_items(items, &path);
        let run = self.run(workdir).arg(job).arg(mode).arg(path);
        let Output { stdout, .. } = servers.iter().fold(run, Run::arg).succeeds();
        serde_json::from_slice(&stdout)
            .unwrap_or_else(|e| panic!("{self:?}: {e}: {}", String::from_utf8_lossy(&stdout)))
    }

    /// The agent, still without arguments.
    fn run(self, workdir: &Workdir) -> Run {
        let python = |packages: &str, source: &str| {
            run_of(workdir, installed("python/bin/python"))
                .env("PYTHONPATH", installed(packages))
                // Else Python leaves files beside the sources.
                .env("PYTHONDONTWRITEBYTECODE", "1")
                .arg(source_file(source))
        };
        let node = |source: &str| {
            run_of(workdir, "node")
                .env("NODE_PATH", installed("node/node_modules"))
                .arg(source_file(source))
        };
        let script =
            |program: &str, source: &str| run_of(workdir, program).arg(source_file(source));
        match self {
            Agent::CacheMemcached => script("perl", "cache_memcached.pl"),
            Agent::CacheMemcachedFast => script("perl", "cache_memcached_fast.pl"),
            Agent::Dalli => script("ruby", "dalli.rb"),
            Agent::Gomemcache => run_of(workdir, gomemcache(workdir)),
            Agent::Libmemcached => run_of(workdir, libmemcached(workdir)),
            Agent::Memjs => node("memjs.js"),
            Agent::NodeMemcached => node("node_memcached.js"),
            Agent::MemcachedProxy | Agent::Nutcracker => panic!("{self:?} has no command line"),
            Agent::PhpMemcache => script("php", "php_memcache.php"),
            Agent::PhpMemcached => script("php", "php_memcached.php"),
            Agent::PhpSession => script("php", "php_session.php"),
            Agent::Pylibmc => python("python-packages", "pylibmc_agent.py"),
            Agent::Pymemcache => python("python-packages", "pymemcache_agent.py"),
            Agent::PythonBinaryMemcached => {
                python("python-packages", "python_binary_memcached_agent.py")
            }
            Agent::PythonMemcached => python("python-packages", "python_memcached_agent.py"),
            Agent::PythonMemcached159 => python("python-packages-old", "python_memcached_agent.py"),
            Agent::Spymemcached => {
                let classes = spymemcached(workdir);
                run_of(workdir, "java")
                    .arg("-cp")
                    .arg(format!("{}:{SPYMEMCACHED}", classes.display()))
                    .arg("Spymemcached")
            }
        }
    }
}

/// What stands for a client: any that speaks to it.
trait Proxy {
    fn client(&self) -> Client;
}

impl Proxy for Nutcracker {
    fn client(&self) -> Client {
        self.client()
    }
}

impl Proxy for Memcached {
    fn client(&self) -> Client {
        self.client()
    }
}

fn text_of(item: &Item) -> &str {
    str::from_utf8(&item.key).unwrap()
}

fn run_of(workdir: &Workdir, program: impl AsRef<Path>) -> Run {
    let program = program.as_ref();
    let path = env::var_os("PATH").unwrap_or_default();
    assert!(
        program.is_file() || env::split_paths(&path).any(|folder| folder.join(program).is_file()),
        "{} is missing; tools/setup --clients installs it",
        program.display()
    );
    workdir.run_of(program.to_str().unwrap())
}

fn source_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tools/clients")
        .join(name)
}

/// Below the folder that `tools/setup --clients` fills.
fn installed(name: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    target.join("clients").join(name)
}

/// A folder for what is compiled here, in every run anew.
fn built(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    fs::create_dir_all(&folder).unwrap();
    folder.join(name)
}

fn libmemcached(workdir: &Workdir) -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = built("libmemcached");
        let output = run_of(workdir, "cc")
            .arg("-Wall")
            .arg("-Wextra")
            .arg("-Werror")
            .arg("-o")
            .arg(&program)
            .arg(source_file("libmemcached.c"))
            .arg("-lmemcached")
            .run();
        check_build(&output, "libmemcached-dev");
        program
    })
}

fn gomemcache(workdir: &Workdir) -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let program = built("gomemcache");
        let output = run_of(workdir, "go")
            // Debian has its Go packages where Go looked before there were modules.
            .env("GO111MODULE", "off")
            .env("GOPATH", "/usr/share/gocode")
            .env("GOCACHE", built("go-cache"))
            .arg("build")
            .arg("-o")
            .arg(&program)
            .arg(source_file("gomemcache.go"))
            .run();
        check_build(&output, "golang-github-bradfitz-gomemcache-dev");
        program
    })
}

fn spymemcached(workdir: &Workdir) -> &'static PathBuf {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let classes = built("spymemcached");
        let output = run_of(workdir, "javac")
            .arg("-d")
            .arg(&classes)
            .arg("-cp")
            .arg(SPYMEMCACHED)
            .arg(source_file("Spymemcached.java"))
            .run();
        check_build(&output, "libspymemcached-java");
        classes
    })
}

fn check_build(output: &Output, package: &str) {
    assert!(
        output.status.success(),
        "an agent does not build; tools/setup --clients installs {package}:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
