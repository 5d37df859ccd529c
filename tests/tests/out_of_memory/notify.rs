//! User notification: a request or a file for which there is no memory is refused, and nothing has changed.

use std::fmt::Debug;

use seccomp_kernel::notify::{
    AddFd, Errno, FdPlace, FdProgress, Id, Next, Notifications, Reply, Response, Wake,
};
use seccomp_runtime::SeccompData;

use crate::allocator::{Rule, spared, under};

type State = Notifications<u32, u32>;

/// Targets, and files for each.
const TARGETS: u64 = 10;

/// What came of a walk.
#[derive(Debug, Default, PartialEq, Eq)]
struct Walk {
    /// Calls that failed with ENOMEM.
    refused: usize,
    replies: Vec<Reply>,
    files: Vec<FdProgress<u32>>,
}

/// Does `step`, and once more with memory if there was none.
fn step<R>(state: &mut State, walk: &mut Walk, step: impl Fn(&mut State) -> Result<R, Errno>) -> R {
    let debug = |state: &dyn Debug| format!("{state:?}");
    let before = spared(|| debug(state));
    match step(state) {
        Ok(done) => {
            spared(|| drop(before));
            done
        }
        Err(errno) => spared(|| {
            assert_eq!((errno, debug(state)), (Errno::ENOMEM, before));
            walk.refused += 1;
            step(state).unwrap_or_else(|errno| panic!("{errno} with memory"))
        }),
    }
}

fn walk() -> Walk {
    let mut walk = Walk::default();
    let mut state = State::new(Id(1), false);
    let call = |nr| SeccompData { nr, ..SeccompData::default() };
    for target in 1..=TARGETS {
        let (id, _): (Id, Wake) = step(&mut state, &mut walk, |state| {
            state.request(target as u32, call(target as i32)).map_err(Errno::from)
        });
        assert_eq!(id, Id(target));
    }
    let mut tickets = spared(Vec::new);
    for target in 1..=TARGETS {
        let (received, _) = state.receive().ok().flatten().expect("a request");
        assert_eq!((received.id, received.data.nr), (Id(target), target as i32));
        for send in [false, true] {
            let at = FdPlace { newfd: None, close_on_exec: false };
            let add_fd = AddFd { id: Id(target), srcfd: 3, at, send };
            let queued = |state: &mut State| {
                let (ticket, _) = state.add_fd(add_fd, target as u32).map_err(|refused| {
                    assert_eq!(refused.file, target as u32, "the file comes back");
                    Errno::from(refused.error)
                })?;
                Ok(ticket)
            };
            if !send {
                let ticket = step(&mut state, &mut walk, queued);
                spared(|| tickets.push(ticket));
                // It is installed before there is an answer.
                let Next::Install(file, _) = state.next(Id(target)) else { panic!("there is a file") };
                let _: Wake = state.fd_installed(Id(target), Ok(file + 100));
            } else if target % 2 == 0 {
                let ticket = step(&mut state, &mut walk, queued);
                spared(|| tickets.push(ticket));
                let Next::Install(file, _) = state.next(Id(target)) else { panic!("there is a file") };
                let _: Wake = state.fd_installed(Id(target), Ok(file + 200));
            } else {
                let response = Response { id: Id(target), reply: Reply::Return(-1) };
                let _: Wake = state.send(response).expect("it waits");
            }
        }
    }
    for target in 1..=TARGETS {
        let Next::Return(reply) = state.next(Id(target)) else { panic!("it is answered") };
        spared(|| walk.replies.push(reply));
    }
    for ticket in &tickets {
        let progress = state.fd_progress(*ticket);
        spared(|| walk.files.push(progress));
    }
    walk
}

#[test]
fn requests_and_files_are_refused_without_memory() {
    let (expected, account) = under(Rule::Plenty, walk);
    assert_eq!((expected.refused, expected.replies.len(), expected.files.len()), (0, 10, 15));
    assert!(account.asked >= 4, "both lists grow");
    for index in 0..account.asked {
        for rule in [Rule::Only(index), Rule::From(index)] {
            let (walk, account) = under(rule, walk);
            assert!(account.refused > 0 && walk.refused > 0, "{rule:?}");
            assert_eq!((&walk.replies, &walk.files), (&expected.replies, &expected.files), "{rule:?}");
        }
    }
    println!("{} allocations", account.asked);
}
