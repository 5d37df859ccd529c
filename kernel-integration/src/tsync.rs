//! One filter for all threads of a process: check every thread, then commit, under one lock.

use core::ops::ControlFlow;

use crate::filter::Filter;
use crate::kernel::{Thread, ThreadGroup};
use crate::state::{Mode, ThreadState};
use crate::sync::Arc;

/// The id of the first thread that cannot take the caller's filters (`seccomp_can_sync_threads`): one in
/// strict mode, or with a filter that the caller does not have.
pub(crate) fn diverged<G: ThreadGroup>(group: &G, caller: &ThreadState) -> Option<i32> {
    let newest = caller.filter();
    let mut diverged = None;
    group.for_each_sibling(&mut |thread| {
        let state = thread.seccomp();
        let follows = match (state.mode(), state.filter(), newest) {
            (Mode::Disabled, ..) => true,
            (Mode::Filter, Some(theirs), Some(newest)) => newest.descends_from(theirs),
            _ => false,
        };
        if follows {
            return ControlFlow::Continue(());
        }
        diverged = Some(thread.tid());
        ControlFlow::Break(())
    });
    diverged
}

/// Gives `filter`, which the caller has just taken, to every other thread (`seccomp_sync_threads`). None of
/// them [`diverged`] under the same lock.
pub(crate) fn synchronise<G: ThreadGroup>(
    group: &G,
    caller: &G::Thread,
    filter: &Arc<Filter>,
    allow_speculation: bool,
) {
    group.for_each_sibling(&mut |thread| {
        // Before the filter, which may be one that only no_new_privs permits.
        if caller.no_new_privs() {
            thread.set_no_new_privs();
        }
        let was = thread.seccomp().mode();
        // Refused only by a thread that has begun to die since it was checked, and needs no filter.
        if thread.seccomp().grow(Arc::clone(filter)).is_ok() && was == Mode::Disabled {
            thread.entered_filter(allow_speculation);
        }
        ControlFlow::Continue(())
    });
}
