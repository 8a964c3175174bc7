//! Azurite, Microsoft's own emulator of Azure's storage, one for each test that needs it.

use std::process::Command;

use bytes::Bytes;
use http::Request;
use http::header::CONTENT_LENGTH;
use object_store::azure::{AzureAuthorizer, MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::client::HttpRequestBody;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::place::{BUCKET, Place, call, set_ciphers};
use crate::process::{Process, clients_folder};

/// The account that every Azurite has; Microsoft publishes its key.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A running server with one container.
#[derive(Debug)]
pub(crate) struct Azurite {
    /// Such as `http://127.0.0.1:4567`.
    endpoint: String,
    _process: Process,
    _folder: TempDir,
}

impl Azurite {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let main = "azurite/node_modules/azurite/dist/src/blob/main.js";
        let mut command = Command::new("node");
        command
            .arg(clients_folder().join(main))
            .args(["--blobHost", "127.0.0.1", "--blobPort", "0", "--location"])
            .arg(folder.path())
            .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"]);
        let mut process = Process::start(command, folder.path(), "azurite");
        let endpoint = process.wait_for(|process| {
            let log = process.log();
            let (_, address) = log.split_once("successfully listens on ")?;
            Some(address.split_once('\n')?.0.trim().to_owned())
        });
        let azurite = Self {
            endpoint,
            _process: process,
            _folder: folder,
        };
        azurite.make_container();
        azurite
    }
    /// The place as users of the emulator set it.
    pub(crate) fn place(&self) -> Place {
        let variables = [
            ("AZURE_STORAGE_USE_EMULATOR", "true"),
            ("AZURITE_BLOB_STORAGE_URL", self.endpoint.as_str()),
        ];
        Place::new(self.client(), format!("az://{BUCKET}"), &variables)
    }

    /// The same place as one with an endpoint and a key of its own.
    pub(crate) fn place_by_endpoint(&self) -> Place {
        let endpoint = self.account_url();
        let variables = [
            ("AZURE_STORAGE_ENDPOINT", endpoint.as_str()),
            ("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
            ("AZURE_STORAGE_ACCOUNT_KEY", KEY),
            ("AZURE_ALLOW_HTTP", "true"),
        ];
        Place::new(self.client(), format!("az://{BUCKET}"), &variables)
    }

    fn account_url(&self) -> String {
        format!("{}/{ACCOUNT}", self.endpoint)
    }

    fn client(&self) -> MicrosoftAzure {
        set_ciphers();
        let built = MicrosoftAzureBuilder::new()
            .with_endpoint(self.account_url())
            .with_allow_http(true)
            .with_account(ACCOUNT)
            .with_access_key(KEY)
            .with_container_name(BUCKET)
            .build();
        built.unwrap()
    }

    /// Makes the container, which no client of object_store can.
    fn make_container(&self) {
        let client = self.client();
        let credential = Runtime::new()
            .unwrap()
            .block_on(client.credentials().get_credential());
        let url = format!("{}/{BUCKET}?restype=container", self.account_url());
        let request = Request::put(url).header(CONTENT_LENGTH, "0");
        let mut request = request.body(HttpRequestBody::from(Bytes::new())).unwrap();
        AzureAuthorizer::new(&credential.unwrap(), ACCOUNT)
            .try_authorize(&mut request)
            .unwrap();
        let address = self.endpoint.strip_prefix("http://").unwrap();
        let answer = call(address, request.map(|_| Bytes::new()));
        assert!(answer.status().is_success(), "{answer:?}");
    }
}
