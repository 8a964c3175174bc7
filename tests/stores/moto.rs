//! The S3 server of moto, one for each test that needs it. It is a double for tests, which
//! honours conditions (`moto_server.py` sees to it), and which here checks who calls and
//! every signature.

use std::path::Path;
use std::process::Command;

use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use tempfile::TempDir;

pub(crate) use crate::place::BUCKET;
use crate::place::{Place, S3Account, call};
use crate::process::{Process, clients_folder};
use crate::workdir::Run;

/// A running server with one bucket.
#[derive(Debug)]
pub(crate) struct Moto {
    account: S3Account,
    _process: Process,
    _folder: TempDir,
}

/// Calls that need no good signature: those that make the user whose signatures count.
const FREE_CALLS: [&str; 3] = [
    "Action=CreateUser&UserName=tests",
    "Action=CreateAccessKey&UserName=tests",
    // All that S3 has.
    "Action=PutUserPolicy&UserName=tests&PolicyName=all&PolicyDocument=\
     %7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C\
     %22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D",
];

impl Moto {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(clients_folder().join("python/bin/python"));
        command
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stores/moto_server.py"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONPATH", clients_folder().join("moto"))
            .env("INITIAL_NO_AUTH_ACTION_COUNT", FREE_CALLS.len().to_string());
        let mut process = Process::start(command, folder.path(), "moto");
        let endpoint = process.wait_for(|process| {
            let log = process.log();
            let (_, address) = log.split_once("Running on ")?;
            Some(address.split_once('\n')?.0.trim().to_owned())
        });
        let address = endpoint.strip_prefix("http://").unwrap();
        let answers = FREE_CALLS.map(|action| free_call(address, action));
        let value = |name: &str| {
            let (open, close) = (format!("<{name}>"), format!("</{name}>"));
            let (_, rest) = answers[1].split_once(&open).unwrap();
            rest.split_once(&close).unwrap().0.to_owned()
        };
        let account = S3Account {
            region: "us-east-1",
            id: value("AccessKeyId"),
            secret: value("SecretAccessKey"),
            endpoint,
        };
        account.make_bucket(BUCKET);
        Self {
            account,
            _process: process,
            _folder: folder,
        }
    }

    pub(crate) fn account(&self) -> &S3Account {
        &self.account
    }

    /// Where it listens, such as `127.0.0.1:4567`.
    pub(crate) fn address(&self) -> &str {
        self.account.address()
    }

    /// Gives the program what its users set.
    pub(crate) fn set_up(&self, run: Run) -> Run {
        self.place().set_up(run)
    }

    pub(crate) fn place(&self) -> Place {
        self.account.place(BUCKET)
    }
}

/// Calls the service that knows users. Which one is called stands in the header alone.
fn free_call(address: &str, action: &str) -> String {
    let request = Request::post("/")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header(
            AUTHORIZATION,
            "AWS4-HMAC-SHA256 Credential=none/20260101/us-east-1/iam/aws4_request, \
             SignedHeaders=host, Signature=none",
        )
        .body(format!("{action}&Version=2010-05-08").into());
    let answer = call(address, request.unwrap());
    let text = String::from_utf8_lossy(answer.body()).into_owned();
    assert!(answer.status().is_success(), "{action}: {text}");
    text
}
