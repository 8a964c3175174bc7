#!/usr/bin/env bash
# object_store 0.14.2 (crates.io), against moto 5.2.5 (PyPI) as the server of S3.
#
# A key of S3 may have an empty component, such as `a//b`: some programs make them by
# joining a folder that ends in a slash. The crate cannot name such an object, which its
# documentation says. One would expect a listing without it. But the whole page of up to
# 1,000 keys is an error, so that none of the other objects of the prefix can be listed, and
# with a delimiter, none of those of the folder above. The entry has to go before the crate
# reads the page, in an HttpService of one's own, for instance.
#
# Seen, with a/one, a/two and a//b in a bucket:
#   list a: Encountered object with invalid path: Path "a//b" contained empty path segment
#   list a with a delimiter: Encountered object with invalid path: Path "a//" contained
#     empty path segment
#   list a without a//b: a/one a/two
#
# Runs on Debian 12 with python3-venv and cargo; exits with 0 if that is seen, 1 if not, 2
# if it could not be checked.
set -euo pipefail

work=$(mktemp -d)
server=
clean_up() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap clean_up EXIT
cd "$work"

if ! { python3 -m venv python && python/bin/pip install -q 'moto[server]==5.2.5'; } >pip.log 2>&1; then
    cat pip.log >&2
    echo "not checked: moto cannot be had" >&2
    exit 2
fi

mkdir src
cat >Cargo.toml <<'END'
[package]
name = "lists"
version = "0.0.0"
edition = "2024"

[dependencies]
futures-util = "=0.3.31"
object_store = { version = "=0.14.2", features = ["aws"] }
tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
END
cat >src/main.rs <<'END'
use futures_util::TryStreamExt as _;
use object_store::aws::AmazonS3Builder;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore as _};

fn tell(how: &str, listed: object_store::Result<Vec<ObjectMeta>>) {
    match listed {
        Ok(found) => {
            let names: Vec<&str> = found.iter().map(|found| found.location.as_ref()).collect();
            println!("{how}: {}", names.join(" "));
        }
        Err(error) => println!("{how}: {error}"),
    }
}

#[tokio::main]
async fn main() {
    let store = AmazonS3Builder::new()
        .with_endpoint(std::env::args().nth(1).unwrap())
        .with_region("us-east-1")
        .with_bucket_name("bucket")
        .with_access_key_id("id")
        .with_secret_access_key("secret")
        .with_allow_http(true)
        .build()
        .unwrap();
    let folder = Path::from("a");
    tell("list", store.list(Some(&folder)).try_collect().await);
    let listed = store.list_with_delimiter(Some(&folder)).await;
    tell("with a delimiter", listed.map(|listed| listed.objects));
}
END
if ! cargo build -q --release >cargo.log 2>&1; then
    cat cargo.log >&2
    echo "not checked: object_store cannot be built" >&2
    exit 2
fi

cat >serve.py <<'END'
import os
import time

from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
with open("port.new", "w") as file:
    file.write(str(server.get_host_and_port()[1]))
os.rename("port.new", "port")
time.sleep(600)
END
python/bin/python serve.py >serve.log 2>&1 &
server=$!
for ((tries = 0; tries < 600; tries++)); do
    [ ! -s port ] || break
    sleep 0.1
done
url=http://127.0.0.1:$(cat port)

call() {
    python3 - "$@" <<'END'
import sys, urllib.request

method, url = sys.argv[1:]
# moto asks for a signature's form alone.
signed = "AWS4-HMAC-SHA256 Credential=id/20260101/us-east-1/s3/aws4_request, Signature=0"
request = urllib.request.Request(url, b"x", {"Authorization": signed}, method=method)
urllib.request.urlopen(request, timeout=60).read()
END
}
call PUT "$url/bucket"
for key in a/one a/two a//b; do
    call PUT "$url/bucket/$key"
done

target/release/lists "$url" | tee with
call DELETE "$url/bucket/a//b"
target/release/lists "$url" | tee without

refused='Encountered object with invalid path: Path "a//b\?" contained empty path segment'
if [ "$(grep -c "$refused" with)" = 2 ] &&
    [ "$(cat without)" = "$(printf 'list: a/one a/two\nwith a delimiter: a/one a/two')" ]; then
    echo "seen: one key with an empty component makes the listing of all others an error"
    exit 0
fi
echo "not seen" >&2
exit 1
