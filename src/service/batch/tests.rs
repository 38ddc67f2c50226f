use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use tokio::sync::{Notify, mpsc};

use super::*;

#[tokio::test]
async fn what_waits_while_a_flight_is_under_way_goes_together_in_its_order() {
    let (landed, mut flights) = mpsc::unbounded_channel();
    let go = Arc::new(Notify::new());
    let opened = Arc::clone(&go);
    let batches = Batches::new("test", 1, move |jobs: Vec<u32>, flight| {
        let (landed, opened) = (landed.clone(), Arc::clone(&opened));
        async move {
            let _until_landed = flight;
            opened.notified().await;
            landed.send(jobs).expect("heard");
        }
    });
    for job in 0..5 {
        batches.submit(job % 2, job).await;
    }
    go.notify_one();
    assert_eq!(flights.recv().await, Some(vec![0]));
    go.notify_one();
    assert_eq!(flights.recv().await, Some(vec![1, 2, 3, 4]));
}

#[tokio::test]
async fn jobs_of_one_key_are_never_in_two_flights_and_others_do_not_wait_for_them() {
    let most = Arc::new(AtomicUsize::new(0));
    let (landed, mut flights) = mpsc::unbounded_channel();
    let (under_way, seen) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&most));
    let batches = Batches::new("test", 4, move |jobs: Vec<(u32, u32)>, flight| {
        let (landed, under_way, seen) = (landed.clone(), Arc::clone(&under_way), Arc::clone(&seen));
        async move {
            let of_the_first = jobs.iter().any(|(key, _)| *key == 0);
            if of_the_first {
                seen.fetch_max(under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
            if of_the_first {
                under_way.fetch_sub(1, Ordering::SeqCst);
            }
            drop(flight);
            for job in jobs {
                landed.send(job).expect("heard");
            }
        }
    });
    for job in 0..300 {
        batches.submit(job % 3, (job % 3, job)).await;
        if job % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let mut last = [None; 3];
    for _ in 0..300 {
        let (key, job) = flights.recv().await.expect("carried");
        let last = &mut last[usize::try_from(key).expect("small")];
        assert!(*last < Some(job), "{job} after {last:?}");
        *last = Some(job);
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn what_waits_does_not_wait_for_a_flight_that_is_late_though_nobody_else_comes() {
    let (landed, mut flights) = mpsc::unbounded_channel();
    let batches = Batches::new("test", 2, move |jobs: Vec<u32>, flight| {
        let landed = landed.clone();
        async move {
            let _until_landed = flight;
            if jobs == [0] {
                std::future::pending::<()>().await;
            }
            landed.send(jobs).expect("heard");
        }
    });
    batches.submit(0, 0).await;
    batches.submit(1, 1).await;
    batches.submit(0, 2).await;
    assert_eq!(tokio::time::timeout(Duration::from_secs(5), flights.recv()).await.expect("in time"), Some(vec![1]));
}

#[tokio::test]
async fn a_flight_that_panics_takes_nobody_s_turn() {
    let (landed, mut flights) = mpsc::unbounded_channel();
    let batches = Batches::new("test", 1, move |jobs: Vec<u32>, flight| {
        let landed = landed.clone();
        async move {
            let _until_landed = flight;
            assert!(jobs != [0], "this one is meant to");
            landed.send(jobs).expect("heard");
        }
    });
    batches.submit(0, 0).await;
    batches.submit(0, 1).await;
    assert_eq!(flights.recv().await, Some(vec![1]));
}
