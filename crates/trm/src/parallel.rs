//! Worker threads. Work is always cut the same way, whatever their number, so results do not depend on it.

/// A set of worker threads that run the parts of one job side by side.
#[derive(Debug)]
pub struct Threads {
    #[cfg(feature = "threads")]
    pool: Option<rayon::ThreadPool>,
}

impl Threads {
    /// `count` workers; 0 means one for each CPU this process may use.
    ///
    /// Without the feature `threads`, or where no thread can be started, everything runs on the caller's thread.
    pub fn new(count: usize) -> Self {
        #[cfg(feature = "threads")]
        {
            let count = if count == 0 { available() } else { count };
            let pool = (count > 1).then(|| rayon::ThreadPoolBuilder::new().num_threads(count).build().ok());
            Self { pool: pool.flatten() }
        }
        #[cfg(not(feature = "threads"))]
        {
            let _ = count;
            Self {}
        }
    }

    /// Number of workers.
    pub fn count(&self) -> usize {
        #[cfg(feature = "threads")]
        return self.pool.as_ref().map_or(1, rayon::ThreadPool::current_num_threads);
        #[cfg(not(feature = "threads"))]
        return 1;
    }

    /// Calls `work` on every item and returns when all are done.
    pub fn for_each<T: Send>(&self, items: Vec<T>, work: impl Fn(T) + Send + Sync) {
        #[cfg(feature = "threads")]
        if let Some(pool) = &self.pool {
            use rayon::prelude::*;
            return pool.install(|| items.into_par_iter().with_max_len(1).for_each(work));
        }
        items.into_iter().for_each(work);
    }
}

/// Calls `work` with every chunk of `size` values and the chunk's number, on the threads that the caller is a worker
/// of, or on the caller's thread alone if it is no worker.
pub fn for_each_chunk(values: &mut [f32], size: usize, work: impl Fn(usize, &mut [f32]) + Send + Sync) {
    #[cfg(feature = "threads")]
    if rayon::current_num_threads() > 1 && rayon::current_thread_index().is_some() {
        use rayon::prelude::*;
        let chunks = values.par_chunks_mut(size).with_max_len(1).enumerate();
        return chunks.for_each(|(i, chunk)| work(i, chunk));
    }
    values.chunks_mut(size).enumerate().for_each(|(i, chunk)| work(i, chunk));
}

#[cfg(feature = "threads")]
fn available() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
