//! The scheduling priority of hashing threads: below that of requests, which are short.

use super::hashers::Lane;

/// Lowers the priority of the calling thread: moderately for the trusted lane, and to idle for the untrusted lane.
#[cfg(target_os = "linux")]
pub(super) fn lower_priority(lane: Lane) {
    use thread_priority::{
        NormalThreadSchedulePolicy::{Idle, Other},
        ThreadPriority, ThreadPriorityValue, ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
    };
    let (policy, priority) = match lane {
        // 25 of 100, which is a nice(2) value of 9.
        Lane::Trusted => (Other, ThreadPriorityValue::try_from(25).map_or(ThreadPriority::Min, ThreadPriority::Crossplatform)),
        Lane::Untrusted => (Idle, ThreadPriority::Min),
    };
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), priority, ThreadSchedulePolicy::Normal(policy)) {
        tracing::warn!(?error, "could not lower the priority of a hashing thread");
    }
}

/// Other systems keep the default priority.
#[cfg(not(target_os = "linux"))]
pub(super) const fn lower_priority(_: Lane) {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::{
        super::hashers::{Hashers, Scratch},
        *,
    };

    #[tokio::test]
    async fn hashing_threads_have_a_lower_priority_and_other_threads_keep_theirs() {
        // proc_pid_stat(5): field 19 is the nice value, field 41 the policy (sched(7)). Field 2 ends with the last `)`.
        let priority_of_thread = |_: &mut Scratch| {
            let stat = std::fs::read_to_string("/proc/thread-self/stat").expect("read");
            let fields: Vec<String> = stat.rsplit(')').next().expect("fields").split_whitespace().map(str::to_owned).collect();
            (fields[16].clone(), fields[38].clone())
        };
        let (normal, idle) = ("0".to_owned(), "5".to_owned());
        let before = priority_of_thread(&mut Scratch::new());
        let hashers = Hashers::start(2).expect("started");
        assert_eq!(hashers.run(Lane::Trusted, priority_of_thread).await.expect("run"), ("9".to_owned(), normal.clone()));
        assert_eq!(hashers.run(Lane::Untrusted, priority_of_thread).await.expect("run").1, idle);
        assert_eq!(before.1, normal);
        assert_eq!(priority_of_thread(&mut Scratch::new()), before);
    }
}
