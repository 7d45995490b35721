//! Limits how long a client may take to read a whole answer. Each byte resets the timeout of a write, so a client that
//! reads one byte now and then could otherwise keep its connection for days.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

/// Whether data waits to be read by a connection's client.
pub(super) struct WriteBacklog {
    /// The present time in milliseconds.
    clock: fn() -> u64,
    /// Since when data waits to be written, by that clock; 0 while none does.
    since: AtomicU64,
    /// The answer is a stream, to which the limit does not apply.
    is_stream: AtomicBool,
}

impl WriteBacklog {
    /// No data waits. `clock` returns the present time in milliseconds.
    pub(super) fn new(clock: fn() -> u64) -> WriteBacklog {
        WriteBacklog { clock, since: AtomicU64::new(0), is_stream: AtomicBool::new(false) }
    }

    /// Marks the answer as a stream. The outbox of the page limits that.
    pub(super) fn stream(&self) {
        self.is_stream.store(true, Ordering::Relaxed);
    }

    /// Returns when the client has taken longer than `limit` for one answer.
    pub(super) async fn too_long(&self, limit: Duration) {
        loop {
            let since = self.since.load(Ordering::Relaxed);
            let waits = if since == 0 || self.is_stream.load(Ordering::Relaxed) {
                0
            } else {
                (self.clock)().saturating_sub(since)
            };
            match limit.checked_sub(Duration::from_millis(waits)).filter(|left| !left.is_zero()) {
                Some(left) => sleep(left).await,
                None => return,
            }
        }
    }
}

/// A connection that records since when data waits.
pub(super) struct Accounted<S> {
    stream: S,
    backlog: Arc<WriteBacklog>,
}

impl<S> Accounted<S> {
    pub(super) fn new(stream: S, backlog: Arc<WriteBacklog>) -> Accounted<S> {
        Accounted { stream, backlog }
    }

    fn data_waits(&self) {
        let _ =
            self.backlog.since.compare_exchange(0, (self.backlog.clock)().max(1), Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Accounted<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Accounted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.data_waits();
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.data_waits();
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// A completed flush means that all data has been written.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.backlog.since.store(0, Ordering::Relaxed);
        Poll::Ready(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::runtime::Builder;
    use tokio::time::{Instant, timeout};

    const LIMIT: Duration = Duration::from_millis(200);

    /// The clock of the runtime.
    fn clock() -> u64 {
        thread_local!(static BEGIN: Instant = Instant::now());
        BEGIN.with(|begin| begin.elapsed().as_millis() as u64)
    }

    /// Whether a client that reads an answer of ten thousand bytes one by one, with pauses, is cut off within this
    /// time, which passes only while all wait.
    fn is_cut_off(prepare: impl FnOnce(&WriteBacklog), pause: Duration, within: Duration) -> bool {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (here, mut there) = duplex(16);
            let backlog = Arc::new(WriteBacklog::new(clock));
            prepare(&backlog);
            let mut here = Accounted::new(here, Arc::clone(&backlog));
            tokio::spawn(async move {
                let mut byte = [0];
                while there.read_exact(&mut byte).await.is_ok() {
                    if !pause.is_zero() {
                        sleep(pause).await;
                    }
                }
            });
            tokio::spawn(async move {
                here.write_all(&[0; 10_000]).await.unwrap();
                here.flush().await.unwrap();
                // The connection stays open, and no data waits.
                sleep(within).await;
            });
            timeout(within, backlog.too_long(LIMIT)).await.is_ok()
        })
    }

    #[test]
    fn an_answer_has_a_time_and_a_stream_has_none() {
        let slow = Duration::from_millis(5);
        assert!(is_cut_off(|_| (), slow, 50 * LIMIT));
        assert!(!is_cut_off(WriteBacklog::stream, slow, 3 * LIMIT));
        assert!(!is_cut_off(|_| (), Duration::ZERO, 3 * LIMIT));
    }
}
