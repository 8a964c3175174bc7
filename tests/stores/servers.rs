//! What holds on which server.

use http::Request;
use object_store::path::Path;
use object_store::{Error, ObjectStore as _, PutMode, PutOptions};
use tokio::runtime::Runtime;

use crate::azurite::Azurite;
use crate::garage::Garage;
use crate::gcs_double::GcsDouble;
use crate::moto::Moto;
use crate::obligations::{Exception, check_store, check_store_but};
use crate::place::{BUCKET, Place, S3Account};
use crate::program;
use crate::race;
use crate::rgw::Rgw;
use crate::transfer;
use crate::workdir::{Run, Workdir};

#[test]
fn moto_keeps_the_obligations() {
    let moto = Moto::start();
    // Of a bucket and of a prefix in it.
    check_store(&moto.place().store(""));
    check_store(&moto.place().store("of/backups"));
    race::one_of_sixteen_creators_wins(&moto.place());
}

#[test]
fn every_verb_takes_the_url_of_a_snapshot_on_moto() {
    program::every_verb_takes_the_url_of_a_snapshot(&Moto::start().place());
}

#[test]
fn damage_on_moto_is_found_and_the_rest_brought_out() {
    program::damage_in_a_bucket_is_found_and_the_rest_brought_out(&Moto::start().place());
}

#[test]
fn a_dump_to_moto_that_was_killed_goes_on() {
    program::a_dump_that_was_killed_goes_on_in_its_bucket(&Moto::start().place());
}

#[test]
fn a_snapshot_is_pushed_to_moto_and_pulled() {
    let moto = Moto::start();
    transfer::a_snapshot_goes_to_a_bucket_and_to_another_and_comes_back_byte_for_byte(
        &moto.place(),
    );
    transfer::a_push_and_a_pull_that_were_killed_go_on(&moto.place());
}

#[test]
fn what_cannot_work_is_told_in_a_line() {
    program::what_cannot_work_is_told_in_a_line(&Moto::start().place());
}

/// No client of `object_store` can make such keys.
fn put_by_key(account: &S3Account) -> impl Fn(&str) {
    move |key| {
        let request = Request::put(format!("/{BUCKET}/{key}"));
        account.call(request.body("foreign".to_owned()).unwrap());
    }
}

#[test]
fn strange_keys_on_moto_hide_nothing() {
    let moto = Moto::start();
    program::strange_keys_hide_nothing(&moto.place(), put_by_key(moto.account()));
}

#[test]
fn strange_keys_on_ceph_hide_nothing() {
    let rgw = Rgw::shared();
    program::strange_keys_hide_nothing(&rgw.place(), put_by_key(rgw.account()));
}

#[test]
fn a_wrong_secret_is_refused() {
    let (moto, workdir) = (Moto::start(), Workdir::new("secret"));
    let url = moto.place().url("night");
    let ls = || workdir.mcsnap(&["ls", &url]);
    let told = |run: Run| String::from_utf8(run.exits(1).stderr).unwrap();
    // There is nothing, which nobody else is told.
    let text = told(moto.set_up(ls()));
    assert!(!text.contains("Signature"), "{text}");
    let wrong = S3Account {
        secret: "wrong".to_owned(),
        ..moto.account().clone()
    };
    let text = told(wrong.place(BUCKET).set_up(ls()));
    assert!(text.contains("SignatureDoesNotMatch"), "{text}");
}

#[test]
fn azurite_keeps_the_obligations() {
    let azurite = Azurite::start();
    check_store(&azurite.place().store("of/backups"));
    race::one_of_sixteen_creators_wins(&azurite.place());
}

#[test]
fn the_program_works_with_azurite() {
    let azurite = Azurite::start();
    program::every_verb_takes_the_url_of_a_snapshot(&azurite.place());
    program::damage_in_a_bucket_is_found_and_the_rest_brought_out(&azurite.place());
    program::a_dump_that_was_killed_goes_on_in_its_bucket(&azurite.place_by_endpoint());
    transfer::a_snapshot_goes_to_a_bucket_and_to_another_and_comes_back_byte_for_byte(
        &azurite.place(),
    );
}

#[test]
fn the_double_of_google_keeps_the_obligations() {
    let double = GcsDouble::start();
    check_store(&double.place().store("of/backups"));
    race::one_of_sixteen_creators_wins(&double.place());
}

#[test]
fn the_program_works_with_the_double_of_google() {
    let double = GcsDouble::start();
    program::every_verb_takes_the_url_of_a_snapshot(&double.place());
    program::damage_in_a_bucket_is_found_and_the_rest_brought_out(&double.place());
    program::a_dump_that_was_killed_goes_on_in_its_bucket(&double.place());
    transfer::a_snapshot_goes_to_a_bucket_and_to_another_and_comes_back_byte_for_byte(
        &double.place(),
    );
}

#[test]
fn ceph_keeps_the_obligations() {
    let rgw = Rgw::shared();
    check_store(&rgw.place().store("of/backups"));
    race::one_of_sixteen_creators_wins(&rgw.place());
}

/// Servers that take a condition and write all the same: of writers that want a name at
/// one moment, more than one believes to have it.
const IGNORES_CONDITIONS: [Exception; 1] = [("put_new race", "right: 1")];

#[test]
fn ceph_ignores_conditions_where_it_keeps_versions() {
    let rgw = Rgw::shared();
    for place in [rgw.versioned_place(), rgw.locked_place()] {
        assert!(ignores_a_condition(&place));
        check_store_but(&place.store("of/backups"), &IGNORES_CONDITIONS);
        program::a_snapshot_goes_there_and_back(&place);
    }
    assert!(!ignores_a_condition(&rgw.place()));
}

#[test]
fn garage_ignores_conditions() {
    let garage = Garage::start();
    assert!(ignores_a_condition(&garage.place()));
    check_store_but(&garage.place().store("of/backups"), &IGNORES_CONDITIONS);
    program::a_snapshot_goes_there_and_back(&garage.place());
}

/// Creates one object twice, past all that our store does about it.
fn ignores_a_condition(place: &Place) -> bool {
    let (client, key) = (place.client(), Path::from("created-twice"));
    let create = async || {
        let options = PutOptions::from(PutMode::Create);
        client.put_opts(&key, "bytes".into(), options).await
    };
    Runtime::new().unwrap().block_on(async {
        create().await.unwrap();
        match create().await {
            Ok(_) => true,
            Err(Error::AlreadyExists { .. }) => false,
            Err(error) => panic!("{error}"),
        }
    })
}

#[test]
fn the_program_works_with_ceph() {
    let rgw = Rgw::shared();
    program::every_verb_takes_the_url_of_a_snapshot(&rgw.place());
    program::damage_in_a_bucket_is_found_and_the_rest_brought_out(&rgw.place());
    program::a_dump_that_was_killed_goes_on_in_its_bucket(&rgw.place());
    transfer::a_snapshot_goes_to_a_bucket_and_to_another_and_comes_back_byte_for_byte(&rgw.place());
}
