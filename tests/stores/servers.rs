//! What holds on which server.

use crate::azurite::Azurite;
use crate::gcs_double::GcsDouble;
use crate::moto::Moto;
use crate::obligations::check_store;
use crate::place::{BUCKET, S3Account};
use crate::program;
use crate::race;
use crate::workdir::Workdir;

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

#[test]
fn a_wrong_secret_is_refused() {
    let (moto, workdir) = (Moto::start(), Workdir::new("secret"));
    let wrong = S3Account {
        secret: "wrong".to_owned(),
        ..moto.account().clone()
    };
    let place = wrong.place(BUCKET);
    let run = workdir.mcsnap(&["ls", &place.url("night")]);
    let told = place.set_up(run).exits(1).stderr;
    let told = String::from_utf8(told).unwrap();
    assert!(told.contains("SignatureDoesNotMatch"), "{told}");
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
