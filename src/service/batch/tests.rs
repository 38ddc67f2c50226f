use std::sync::atomic::{AtomicUsize, Ordering};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::*;

type Numbers = Batcher<u32, u32, u32>;

const fn config(max_in_flight: u32) -> Config {
    Config { name: "test", max_in_flight, on_dropped: || Error::Overloaded }
}

/// A batcher that reports the requests of each batch, waits until it is told to go on, and replies with the request.
fn stepped(max_in_flight: u32) -> (Numbers, mpsc::UnboundedReceiver<Vec<u32>>, Arc<Notify>) {
    let (dispatched, taken) = mpsc::unbounded_channel();
    let go_on = Arc::new(Notify::new());
    let waiting = Arc::clone(&go_on);
    let batcher = Batcher::new(config(max_in_flight), move |calls: Vec<Call<u32, u32>>, batch| {
        let (dispatched, go_on) = (dispatched.clone(), Arc::clone(&waiting));
        async move {
            dispatched.send(calls.iter().map(|call| call.request).collect()).expect("received");
            go_on.notified().await;
            reply(calls);
            drop(batch);
        }
    });
    (batcher, taken, go_on)
}

fn reply(calls: Vec<Call<u32, u32>>) {
    for call in calls {
        let request = call.request;
        call.reply(Ok(request));
    }
}

/// Makes calls in this order.
async fn call(batcher: &Numbers, calls: &[(&[u32], u32)]) -> JoinSet<u32> {
    let mut replies = JoinSet::new();
    for (keys, request) in calls {
        let (batcher, keys, request) = (batcher.clone(), keys.to_vec(), *request);
        replies.spawn(async move { batcher.call(keys, request).await.expect("a reply") });
        tokio::task::yield_now().await;
    }
    replies
}

async fn next(taken: &mut mpsc::UnboundedReceiver<Vec<u32>>) -> Vec<u32> {
    timeout(Duration::from_secs(5), taken.recv()).await.expect("in time").expect("a batch")
}

#[tokio::test]
async fn calls_that_wait_for_a_batch_go_together_in_their_order() {
    let (batcher, mut taken, go_on) = stepped(1);
    let replies = call(&batcher, &[(&[0], 0), (&[1], 1), (&[0], 2), (&[1], 3), (&[0], 4)]).await;
    for expected in [vec![0], vec![1, 2, 3, 4]] {
        assert_eq!(next(&mut taken).await, expected);
        go_on.notify_one();
    }
    let mut replies = replies.join_all().await;
    replies.sort_unstable();
    assert_eq!(replies, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_stalled_batch_holds_back_only_its_keys() {
    let (batcher, mut taken, _) = stepped(2);
    let _replies = call(&batcher, &[(&[0], 0), (&[1], 1), (&[0], 2)]).await;
    assert_eq!(next(&mut taken).await, [0]);
    assert_eq!(next(&mut taken).await, [1]);
}

#[tokio::test]
async fn a_call_with_two_keys_waits_for_both_and_later_calls_wait_behind_it() {
    let (a, b, c) = (1, 2, 3);
    let (batcher, mut taken, go_on) = stepped(4);
    let _replies = call(&batcher, &[(&[a, b], 0), (&[b, c], 1), (&[a, c], 2), (&[c], 3), (&[9], 4)]).await;
    assert_eq!(next(&mut taken).await, [0]);
    // Key c is free, but calls 1 and 2 arrived before call 3. Call 4 shares no key with an earlier call.
    assert_eq!(next(&mut taken).await, [4]);
    go_on.notify_waiters();
    assert_eq!(next(&mut taken).await, [1, 2, 3]);
}

#[tokio::test]
async fn a_panic_fails_the_calls_of_its_batch_and_releases_their_keys() {
    let batcher: Numbers = Batcher::new(config(1), |calls, batch| async move {
        assert!(calls.iter().all(|call| call.request != 0), "this panic is intended");
        reply(calls);
        drop(batch);
    });
    let dropped = batcher.call([0], 0).await;
    assert!(matches!(dropped, Err(Error::Overloaded)), "the configured error, not {dropped:?}");
    assert_eq!(batcher.call([0], 1).await.expect("a reply"), 1);
}

#[tokio::test]
async fn a_batch_that_releases_its_keys_lets_their_next_calls_go() {
    let (dispatched, mut taken) = mpsc::unbounded_channel();
    let batcher: Numbers = Batcher::new(config(1), move |calls: Vec<Call<u32, u32>>, mut batch| {
        let dispatched = dispatched.clone();
        async move {
            dispatched.send(calls.iter().map(|call| call.request).collect()).expect("received");
            batch.release(&HashSet::from([1]));
            std::future::pending::<()>().await;
        }
    });
    let _replies = call(&batcher, &[(&[7], 0), (&[1, 2], 1), (&[1], 2), (&[2], 3)]).await;
    assert_eq!(next(&mut taken).await, [0]);
    assert_eq!(next(&mut taken).await, [1]);
    assert_eq!(next(&mut taken).await, [3]);
    sleep(4 * STALL_AFTER).await;
    assert!(taken.is_empty(), "call 2 needs key 1, which its batch has not released");
}

#[tokio::test]
async fn a_batch_takes_no_more_than_it_may() {
    let (batcher, mut taken, go_on) = stepped(1);
    let calls: Vec<(&[u32], u32)> = (0..700).map(|number| (&[1_u32] as &[u32], number)).collect();
    let _replies = call(&batcher, &calls).await;
    assert_eq!(next(&mut taken).await, [0]);
    go_on.notify_one();
    assert_eq!(next(&mut taken).await, (1..=512).collect::<Vec<_>>());
    go_on.notify_one();
    assert_eq!(next(&mut taken).await, (513..700).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_caller_that_gives_up_before_it_dispatches_leaves_nobody_waiting() {
    let (batcher, mut taken, _) = stepped(1);
    let (first, second) = (batcher.call([0], 0), batcher.call([1], 1));
    let (mut first, mut second) = (Box::pin(first), Box::pin(second));
    assert!(futures_util::poll!(&mut first).is_pending(), "it waits for others");
    assert!(futures_util::poll!(&mut second).is_pending());
    drop(first);
    assert_eq!(next(&mut taken).await, [0, 1]);
}

/// 3,000 calls on one or two of six keys. One batch in five stalls, so that others are in flight beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_calls_keeps_the_order_of_each_key_and_never_shares_one() {
    const KEYS: usize = 6;
    type Request = (usize, Vec<usize>);
    let running: Arc<[AtomicUsize; KEYS]> = Arc::default();
    let (in_flight, most_in_flight, batch_count) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
    let (executed, mut order) = mpsc::unbounded_channel();
    let most = Arc::clone(&most_in_flight);
    let batcher: Batcher<usize, Request, ()> = Batcher::new(config(4), move |calls: Vec<Call<Request, ()>>, batch| {
        let (running, in_flight, most, executed) = (Arc::clone(&running), Arc::clone(&in_flight), Arc::clone(&most), executed.clone());
        let stalls = batch_count.fetch_add(1, Ordering::SeqCst) % 5 == 0;
        async move {
            let keys: HashSet<usize> = calls.iter().flat_map(|call| call.request.1.clone()).collect();
            for key in &keys {
                assert_eq!(running[*key].fetch_add(1, Ordering::SeqCst), 0, "two batches share key {key}");
            }
            most.fetch_max(in_flight.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if stalls {
                sleep(STALL_AFTER * 2).await;
            }
            for call in calls {
                executed.send(call.request.clone()).expect("received");
                call.reply(Ok(()));
            }
            for key in &keys {
                running[*key].fetch_sub(1, Ordering::SeqCst);
            }
            in_flight.fetch_sub(1, Ordering::SeqCst);
            drop(batch);
        }
    });
    let mut random = StdRng::seed_from_u64(7);
    let mut replies = JoinSet::new();
    for number in 0..3_000 {
        let (one, other) = (random.random_range(0..KEYS), random.random_range(0..KEYS));
        let keys = if one == other { vec![one] } else { vec![one, other] };
        let (call, reply) = Call::new((number, keys.clone()));
        batcher.submit(keys, call).await;
        replies.spawn(async move { reply.await.expect("a reply").expect("success") });
        if number % 7 == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    timeout(Duration::from_secs(30), replies.join_all()).await.expect("no call starves");
    let mut last = [None; KEYS];
    for _ in 0..3_000 {
        let (number, keys): Request = order.recv().await.expect("executed");
        for key in keys {
            assert!(last[key] < Some(number), "call {number} on key {key} after {:?}", last[key]);
            last[key] = Some(number);
        }
    }
    assert!(most_in_flight.load(Ordering::SeqCst) > 1, "no batch was in flight beside another");
}

#[tokio::test]
async fn a_call_that_waited_for_too_long_is_refused_and_one_without_a_caller_is_dropped() {
    let (batcher, mut taken, go_on) = stepped(1);
    let _stuck = call(&batcher, &[(&[0], 0)]).await;
    assert_eq!(next(&mut taken).await, [0]);
    let mut abandoned = call(&batcher, &[(&[1], 1)]).await;
    abandoned.shutdown().await;
    let since = Instant::now();
    let refused = batcher.call([0], 2).await;
    assert!(matches!(refused, Err(Error::Overloaded)), "{refused:?}");
    assert!((MAX_WAIT..MAX_WAIT + Duration::from_secs(2)).contains(&since.elapsed()), "{:?}", since.elapsed());
    let _later = call(&batcher, &[(&[0], 3)]).await;
    go_on.notify_one();
    assert_eq!(next(&mut taken).await, [3]);
}
