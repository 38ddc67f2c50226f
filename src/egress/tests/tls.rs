//! Which servers are believed.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use super::*;

/// A server with a certificate for this name, and the authority that issued it.
async fn server(name: &str) -> (u16, CertificateDer<'static>) {
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).expect("a certificate").der().clone();
    let issuer = Issuer::new(params, key);
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec![name.to_owned()]).expect("parameters").signed_by(&key, &issuer).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate and its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut read = [0; 4_096];
            if stream.read(&mut read).await.is_ok() {
                stream.write_all(OK.as_bytes()).await.expect("sent");
            }
        }
    });
    (port, authority)
}

async fn outcome(authorities: Vec<CertificateDer<'static>>, to: &str) -> AttemptOutcome {
    let egress = Egress::new(LOOPBACK.parse().expect("networks"), LONG, authorities).expect("an egress");
    post(&egress, to).await.outcome
}

#[tokio::test]
async fn a_certificate_must_be_of_a_known_authority_and_for_the_host() {
    let (port, authority) = server("localhost").await;
    let to = format!("https://localhost:{port}/");
    assert_eq!(outcome(vec![authority.clone()], &to).await, AttemptOutcome::Succeeded);
    assert_eq!(outcome(Vec::new(), &to).await, AttemptOutcome::Tls);
    assert_eq!(outcome(vec![authority], &format!("https://127.0.0.1:{port}/")).await, AttemptOutcome::Tls);
    let (port, authority) = server("other.example").await;
    assert_eq!(outcome(vec![authority], &format!("https://localhost:{port}/")).await, AttemptOutcome::Tls);
}

#[tokio::test]
async fn a_server_without_tls_is_not_believed() {
    for answer in ["HTTP/1.1 400 Bad Request\r\n\r\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut hello = [0; 4_096];
            let _ = stream.read(&mut hello).await;
            stream.write_all(answer.as_bytes()).await.expect("sent");
        });
        assert_eq!(outcome(Vec::new(), &format!("https://127.0.0.1:{port}/")).await, AttemptOutcome::Tls, "{answer:?}");
    }
}
