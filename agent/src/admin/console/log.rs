//! Questions to the activity log off the threads that matter: few at a time, and none for longer than the deadline.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::admin::why::WhyError;
use crate::record::query::{QueryError, Reader};

/// Questions that are asked at a time; others wait.
const AT_A_TIME: usize = 2;
/// A question that is not answered by then is given up.
const DEADLINE: Duration = Duration::from_secs(5);
/// How often one that is given up is told to end: what it reads may be between two statements.
const INSIST_EVERY: Duration = Duration::from_millis(20);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error(transparent)]
    Why(#[from] WhyError),
    #[error("the log did not answer within {} seconds: ask for a shorter time", DEADLINE.as_secs())]
    Deadline,
    #[error("the question to the log failed")]
    Failed,
}

#[derive(Clone)]
pub(super) struct Log {
    path: PathBuf,
    free: Arc<Semaphore>,
    deadline: Duration,
}

impl Log {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, free: Arc::new(Semaphore::new(AT_A_TIME)), deadline: DEADLINE }
    }

    /// Asks on a thread of its own.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let begun = tokio::time::Instant::now();
        let permit = tokio::time::timeout(self.deadline, Arc::clone(&self.free).acquire_owned()).await;
        let permit = permit.map_err(|_| LogError::Deadline)?.map_err(|_| LogError::Failed)?;
        let path = self.path.clone();
        let (tell, told) = oneshot::channel();
        let mut asked = tokio::task::spawn_blocking(move || {
            // Kept until the thread is free again, and not only until somebody has lost patience.
            let _permit = permit;
            let reader = Reader::open(&path)?;
            // Nobody listens any more where the page was left.
            let _ = tell.send(reader.stopper());
            question(&reader)
        });
        if let Ok(answer) = tokio::time::timeout_at(begun + self.deadline, &mut asked).await {
            return answer.map_err(|_| LogError::Failed)?;
        }
        if let Ok(stopper) = told.await {
            tokio::spawn(async move {
                while !asked.is_finished() {
                    stopper.stop();
                    tokio::time::sleep(INSIST_EVERY).await;
                }
            });
        }
        Err(LogError::Deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activity::tests::sample;
    use crate::record::activity_log::ActivityLog;
    use crate::record::query::Filter;

    #[tokio::test]
    async fn a_question_without_end_is_given_up_and_others_are_answered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("activity.db");
        let (log, _) = ActivityLog::open(&path, None).unwrap();
        log.record(sample()).unwrap();
        log.flush(Duration::from_secs(20)).unwrap();
        let asked = Log { deadline: Duration::from_millis(100), ..Log::new(path) };
        for _ in 0..3 * AT_A_TIME {
            let endless = asked.ask(|reader| {
                loop {
                    reader.page_before(&Filter::default(), None)?;
                }
            });
            let result: Result<(), LogError> = endless.await;
            assert!(matches!(result, Err(LogError::Deadline)), "{result:?}");
        }
        let patient = Log { deadline: Duration::from_secs(60), ..asked };
        let (entries, _) =
            patient.ask(|reader| Ok(reader.page_before(&Filter::default(), None)?)).await.unwrap();
        assert_eq!(entries.len(), 1);
        // All have ended: the test's runtime waits for their threads and would no longer tell them to.
        let all = tokio::time::timeout(patient.deadline, patient.free.acquire_many(AT_A_TIME as u32)).await;
        assert!(all.is_ok_and(|free| free.is_ok()));
    }

    #[tokio::test]
    async fn a_log_that_is_not_there_is_told() {
        let missing = Log::new("/no/such/log".into());
        assert!(matches!(missing.ask(|_| Ok(())).await, Err(LogError::Query(QueryError::Missing(_)))));
    }
}
