//! What tasks have in the storage of extensions: it begins with a thread or process and ends with it.

use seccomp_runtime::{AccessError, Map, TaskScope};

use crate::filter::Filter;
use crate::state::ThreadState;

/// The ids of a thread and of its thread group, as [`HelperHost::task`](seccomp_runtime::HelperHost::task) has
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TaskIds {
    /// The thread's.
    pub thread: u64,
    /// Its thread group's.
    pub group: u64,
}

impl TaskIds {
    const fn of(self, scope: TaskScope) -> u64 {
        match scope {
            TaskScope::Thread => self.thread,
            TaskScope::ThreadGroup => self.group,
        }
    }
}

impl ThreadState {
    /// The thread of this state, which is `parent`, makes `child`: what its extensions remember of it goes to the
    /// child where they are to copy it. Call it together with [`inherit`](Self::inherit), under the same lock.
    /// Allocates nothing; takes the spin locks of maps.
    ///
    /// # Errors
    ///
    /// There is no place for it. The child has nothing, and must not start: its filters would have forgotten.
    pub fn task_forked(&self, parent: TaskIds, child: TaskIds) -> Result<(), AccessError> {
        let is_new = |scope| parent.of(scope) != child.of(scope);
        for map in maps(self).filter(|map| is_new(map.options().scope)) {
            let scope = map.options().scope;
            map.task_forked(parent.of(scope), child.of(scope)).inspect_err(|_| {
                forget(self, child, if is_new(TaskScope::ThreadGroup) { 0 } else { u32::MAX })
            })?;
        }
        Ok(())
    }

    /// The thread of this state, which is `task`, has ended: what extensions remember of it is forgotten, and of its
    /// group what none of the threads that are left in it, with the states `remaining`, has the filter of. Call it under
    /// the lock of [`Kernel::with_group`](crate::Kernel::with_group), where the thread is no longer among the others, when
    /// it makes no call any more, and before its id can be another's. Allocates nothing; takes the spin locks of maps.
    pub fn task_exited<'r>(&self, task: TaskIds, remaining: impl IntoIterator<Item = &'r Self>) {
        let Some(newest) = self.filter().filter(|newest| newest.has_extensions()) else { return };
        let mut shared = 0;
        for filter in remaining.into_iter().filter_map(Self::filter) {
            shared = shared.max(newest.shared_with(filter));
            if shared == newest.count() {
                break;
            }
        }
        forget(self, task, shared);
    }
}

/// Forgets a thread in all maps of its filters, and its group in those but of its `kept` oldest filters.
fn forget(state: &ThreadState, task: TaskIds, kept: u32) {
    for (filter, map) in maps_by_filter(state) {
        match map.options().scope {
            TaskScope::Thread => map.task_exited(task.thread),
            TaskScope::ThreadGroup if filter.count() > kept => map.task_exited(task.group),
            TaskScope::ThreadGroup => {}
        }
    }
}

/// The maps of a thread's extensions.
pub(crate) fn maps(state: &ThreadState) -> impl Iterator<Item = &Map> {
    maps_by_filter(state).map(|(_, map)| map)
}

fn maps_by_filter(state: &ThreadState) -> impl Iterator<Item = (&Filter, &Map)> {
    let newest = state.filter().filter(|newest| newest.has_extensions());
    let filters = newest.into_iter().flat_map(Filter::newest_first);
    let extensions = filters.filter_map(|filter| Some((filter, filter.program().extension()?)));
    extensions.flat_map(|(filter, extension)| extension.maps().iter().map(move |map| (filter, &**map)))
}
