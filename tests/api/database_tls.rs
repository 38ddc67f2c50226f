//! Production and a Postgres whose certificate a private authority signed.

use std::{
    fs,
    net::Ipv4Addr,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use core_api::database::private::PrivatePostgres;

use crate::support::binary::{assert_refused, core_api, folder, run};

/// Makes a certificate for one address, and its key, which only `owner` may read.
fn certify(address: Ipv4Addr, folder: &Path, owner: &fs::Metadata) {
    let config = format!(
        "[req]\ndistinguished_name=dn\nx509_extensions=extensions\nprompt=no\n[dn]\nCN=database\n\
         [extensions]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName=IP:{address}\n"
    );
    fs::write(folder.join("openssl.cnf"), config).expect("the file is written");
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-config", "openssl.cnf", "-keyout", "key.pem", "-out", "certificate.pem"]);
    let made = command.current_dir(folder).output().expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let key = folder.join("key.pem");
    chown(&key, Some(owner.uid()), Some(owner.gid())).expect("the owner is changed");
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("the key is closed to others");
}

#[tokio::test]
async fn production_connects_only_to_the_database_that_the_certificate_names() {
    if cfg!(not(target_os = "linux")) || Command::new("openssl").arg("version").output().is_err() {
        return; // Only Linux has as many loopback addresses as one likes, and nothing else here makes certificates.
    }
    let folder = folder();
    let data = folder.path().join("data");
    // The first start initialises the data, and tells whose it is.
    PrivatePostgres::start(&data, &[]).await.expect("a Postgres").stop().expect("it stops");
    // Two loopback addresses that no other test uses.
    let [named, other] = [0, 1].map(|last| Ipv4Addr::new(127, rand::random(), rand::random_range(1..=254), last + 1));
    certify(named, folder.path(), &fs::metadata(data.join("data")).expect("the data"));
    let [certificate, key, rules] = ["certificate.pem", "key.pem", "hba.conf"].map(|name| folder.path().join(name).display().to_string());
    fs::write(&rules, "local all all trust\nhostssl all all 127.0.0.0/8 trust\n").expect("the file is written");
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={certificate}"),
        format!("ssl_key_file={key}"),
        format!("hba_file={rules}"),
        format!("listen_addresses={named},{other}"),
    ];
    let postgres = PrivatePostgres::start(&data, &settings.each_ref().map(String::as_str)).await.expect("a Postgres");

    let migrate = |host: Ipv4Addr, parameters: &str| {
        let mut command = core_api();
        command.arg("migrate").env("CORE_API_ENV", "production");
        run(command.env("DATABASE_URL", format!("postgres://core_api:hunter2@{host}/core_api?sslmode=verify-full{parameters}")))
    };
    let known = format!("&sslrootcert={certificate}");
    for (host, parameters) in [(named, ""), (other, known.as_str())] {
        let began = Instant::now();
        assert_refused(&migrate(host, parameters), "cannot connect to the database by TLS");
        assert!(began.elapsed() < Duration::from_secs(10), "it waited {:?} for a certificate", began.elapsed());
    }
    let migrated = migrate(named, &known);
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    postgres.stop().expect("it stops");
}
