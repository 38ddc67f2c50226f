//! Rotation of signing keys in a running service: a new key first verifies, then signs, and then the old one is removed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use core_api::config::Settings;
use secrecy::SecretString;
use tokio::{
    sync::RwLock,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::support::{Actor, World, without_quota};

/// A list of keys with these names.
fn keys(names: &[&str]) -> SecretString {
    let key = |name: &&str| {
        // Different for each name, and random enough to be accepted.
        let first = name.bytes().map(u32::from).sum::<u32>();
        let secret: Vec<u8> = (first..first + 32).map(|byte| u8::try_from(byte % 256).expect("a byte")).collect();
        format!("{name}:{}", STANDARD.encode(secret))
    };
    names.iter().map(key).collect::<Vec<_>>().join(",").into()
}

/// The steps of a rotation. Adjacent steps run side by side during a rolling deployment.
const STEPS: [&[&str]; 4] = [&["old"], &["old", "new"], &["new", "old"], &["new"]];

#[tokio::test]
async fn adjacent_steps_of_a_rotation_accept_each_other_s_tokens() {
    let mut world = World::with(|settings| settings.auth.signing_keys = Some(keys(STEPS[0]))).await;
    for step in &STEPS[1..] {
        world.settings.auth.signing_keys = Some(keys(step));
        world.add_replica().await;
    }
    for (signer, step) in STEPS.iter().enumerate() {
        let actor = world.anonymous_at(signer).logged_in("test@example.com", "test123").await;
        for (verifier, known) in STEPS.iter().enumerate() {
            let reply = world.at(verifier, &actor).get("/cards").await;
            if known.contains(&step[0]) {
                reply.ok();
            } else {
                assert!(signer.abs_diff(verifier) > 1, "{step:?} and {known:?} are adjacent steps");
                reply.problem(401, "unauthenticated");
            }
        }
    }
}

/// The replicas that a load balancer sends requests to.
type Balancer = Arc<RwLock<Vec<Actor>>>;

/// A client that always has a valid token and must never be refused.
async fn send_requests(balancer: Balancer, done: Arc<AtomicBool>, requests: Arc<AtomicU32>) {
    let mut turn = 0;
    let mut next = || {
        turn += 1;
        turn
    };
    let mut actor: Option<Actor> = None;
    while !done.load(Ordering::Relaxed) {
        // Held until the answer arrives, so that a replica is shut down only with no request in flight.
        let replicas = balancer.read().await;
        let replica = &replicas[next() % replicas.len()];
        let Some(known) = &actor else {
            actor = Some(replica.logged_in("test@example.com", "test123").await);
            continue;
        };
        let reply = known.at_base(replica.base()).get("/cards").await;
        if reply.status == 403 {
            reply.problem(403, "token_expired");
            actor = None;
            continue;
        }
        reply.ok();
        requests.fetch_add(1, Ordering::Relaxed);
        drop(replicas);
        sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_valid_token_is_refused_during_a_key_rotation() {
    const TOKEN_TTL: u64 = 2;
    let set = |settings: &mut Settings| {
        settings.auth.signing_keys = Some(keys(STEPS[0]));
        settings.auth.token_ttl_seconds = TOKEN_TTL;
        without_quota(settings);
    };
    let mut world = World::of_replicas(3, set).await;
    let balancer: Balancer = Arc::new(RwLock::new((0..3).map(|index| world.anonymous_at(index)).collect()));
    let (done, requests) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let mut clients = JoinSet::new();
    for _ in 0..6 {
        clients.spawn(send_requests(Arc::clone(&balancer), Arc::clone(&done), Arc::clone(&requests)));
    }
    let mut oldest = 0;
    for step in &STEPS[1..] {
        if *step == ["new"] {
            // Tokens of the old key must expire before the key is removed.
            sleep(Duration::from_secs(TOKEN_TTL + 1)).await;
        }
        for _ in 0..3 {
            world.settings.auth.signing_keys = Some(keys(step));
            world.add_replica().await;
            let mut replicas = balancer.write().await;
            replicas.remove(0);
            replicas.push(world.anonymous_at(oldest + 3));
            drop(replicas);
            world.shut_down(oldest);
            oldest += 1;
            let before = requests.load(Ordering::Relaxed);
            let served = async {
                while requests.load(Ordering::Relaxed) < before + 30 {
                    sleep(Duration::from_millis(5)).await;
                }
            };
            timeout(Duration::from_secs(30), served).await.expect("requests continue");
        }
    }
    done.store(true, Ordering::Relaxed);
    clients.join_all().await;
    assert!(requests.load(Ordering::Relaxed) > 250);
}
