//! That hashing stands back for what is short.

use super::hashers::Lane;

/// Has the calling thread yield to those that serve: a little if it hashes for those who are known, and
/// whenever anybody else has something to do if it hashes for strangers.
#[cfg(target_os = "linux")]
pub(super) fn stand_back(lane: Lane) {
    use thread_priority::{
        NormalThreadSchedulePolicy::{Idle, Other},
        ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
    };
    let (policy, priority) = match lane {
        // A quarter of the way up from the lowest: 9 as nice(2) counts it.
        Lane::Known => (Other, ThreadPriorityValue::try_from(25).map_or(ThreadPriority::Min, ThreadPriority::Crossplatform)),
        Lane::Stranger => (Idle, ThreadPriority::Min),
    };
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), priority, ThreadSchedulePolicy::Normal(policy)) {
        tracing::warn!(?error, "hashing is as urgent as everything else");
    }
}

/// Elsewhere hashing is as urgent as everything else.
#[cfg(not(target_os = "linux"))]
pub(super) const fn stand_back(_: Lane) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{
        super::hashers::{Hashers, Memory},
        *,
    };

    #[tokio::test]
    async fn hashing_stands_back_and_the_threads_that_serve_do_not() {
        // proc_pid_stat(5): the nineteenth is how nice, the forty-first by which policy (sched(7)); the name before them has no spaces.
        let standing = |_: &mut Memory| {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("read");
            let fields: Vec<String> = stat.rsplit(')').next().expect("fields").split_whitespace().map(str::to_owned).collect();
            (fields[16].clone(), fields[38].clone())
        };
        let (normal, idle) = ("0".to_owned(), "5".to_owned());
        let before = standing(&mut Memory::new());
        let hashers = Hashers::start(2).expect("started");
        assert_eq!(hashers.run(Lane::Known, standing).await.expect("run"), ("9".to_owned(), normal.clone()));
        assert_eq!(hashers.run(Lane::Stranger, standing).await.expect("run").1, idle);
        assert_eq!(before.1, normal);
        assert_eq!(standing(&mut Memory::new()), before);
    }
}
