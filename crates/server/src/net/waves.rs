//! What a client sends in one wave is read in one go.
//!
//! A producer that waits for acknowledgements and has several requests under way sends the next ones as answers come. Whoever
//! reads the first of them at once appends it alone and has it replicated alone, and the others after it: twice the rounds of
//! replication for the same bytes. So where a client was seen to have so many bytes under way each time that it was answered,
//! the next read waits until they are there, and the kernel is asked not to wake anybody for less (`SO_RCVLOWAT`).
//!
//! It waits for [`PATIENCE`] at most, and where that was in vain, reads what comes as it comes for a good while.
#![allow(unsafe_code)] // one call, setsockopt(SO_RCVLOWAT), which neither rustix nor socket2 wraps

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// How long a read waits for the rest of a wave. The runtime's timers are no finer.
pub const PATIENCE: Duration = Duration::from_millis(1);
/// So many acknowledgements tell what a client has under way.
const SEEN: usize = 8;
/// What is longer makes rounds that are long enough.
const LONGEST: usize = 128 << 10;
/// Acknowledgements without waiting after a wait in vain: first, and at most. Each further one doubles them.
const RESTS: (u32, u32) = (64, 4096);

/// What a connection knows of its client's waves.
#[derive(Default)]
pub struct Waves {
    /// Bytes that were under way at each of the last acknowledgements.
    under_way: [usize; SEEN],
    /// How many of them are known.
    known: usize,
    /// Where the next one goes.
    at: usize,
    /// Of the last eight acknowledgements that nothing was awaited after, those behind which more had come: a bit each.
    followed: u8,
    /// Acknowledgements until it may wait again.
    rest: u32,
    /// How long the last rest was; 0 where waiting has been worth it since.
    last_rest: u32,
    /// Waits that were not in vain, since the last one that was.
    worth: u32,
}

impl Waves {
    /// How many bytes to wait for, now that a wave was answered; `None` to read what is there.
    pub fn awaited(&mut self) -> Option<usize> {
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        if self.known < SEEN || self.followed.count_ones() < u8::BITS / 2 {
            return None;
        }
        self.under_way.iter().min().copied().filter(|least| *least <= LONGEST)
    }

    /// Without waiting, `came` bytes were there behind an acknowledged wave of `acknowledged` bytes: the client had both
    /// under way.
    pub fn followed(&mut self, acknowledged: usize, came: usize) {
        self.followed = self.followed << 1 | u8::from(came > 0);
        self.note(acknowledged + came);
    }

    /// After waiting for `awaited` bytes, `came` were there.
    pub fn gathered(&mut self, awaited: usize, came: usize) {
        if came >= awaited {
            self.worth += 1;
            if self.worth >= RESTS.0 {
                self.last_rest = 0;
            }
            return self.note(came);
        }
        self.rest = (2 * self.last_rest).clamp(RESTS.0, RESTS.1);
        (self.last_rest, self.worth, self.known, self.followed) = (self.rest, 0, 0, 0);
    }

    fn note(&mut self, bytes: usize) {
        self.under_way[self.at] = bytes;
        self.at = (self.at + 1) % SEEN;
        self.known = (self.known + 1).min(SEEN);
    }
}

/// Waits until `bytes` can be read, the client has closed, or `patience` is over.
///
/// # Errors
/// The socket's.
pub async fn gather(stream: &TcpStream, bytes: usize, patience: Duration) -> io::Result<()> {
    // What is there now has woken this task already: only what makes it enough shall.
    let _ = stream.try_io(Interest::READABLE, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    // Tells at once where there is enough.
    set_low_water(stream, bytes)?;
    let readable = tokio::time::timeout(patience, stream.readable()).await;
    set_low_water(stream, 1)?;
    readable.unwrap_or(Ok(()))
}

/// The bytes from which on a socket counts as readable.
fn set_low_water(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    // SAFETY: the option is an int, which is read from `bytes`, as long as said, during the call.
    let result = unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVLOWAT,
            (&raw const bytes).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    const BATCH: usize = 16 << 10;

    /// A client with five batches under way, of which two are read first and three then.
    fn learnt() -> Waves {
        let mut waves = Waves::default();
        for round in 0..SEEN {
            assert_eq!(waves.awaited(), None, "round {round}");
            let first = 2 + round % 2;
            waves.followed(first * BATCH, (5 - first) * BATCH);
        }
        waves
    }

    #[test]
    fn what_a_client_has_under_way_is_awaited_once_it_was_seen_often_enough() {
        let mut waves = learnt();
        assert_eq!(waves.awaited(), Some(5 * BATCH));
        waves.gathered(5 * BATCH, 5 * BATCH);
        assert_eq!(waves.awaited(), Some(5 * BATCH));
    }

    #[test]
    fn a_client_that_sends_nothing_behind_a_wave_is_not_waited_for() {
        let mut waves = Waves::default();
        for _ in 0..100 {
            assert_eq!(waves.awaited(), None);
            waves.followed(BATCH, 0);
        }
    }

    #[test]
    fn the_least_that_was_under_way_is_awaited() {
        let mut waves = learnt();
        waves.followed(BATCH, BATCH);
        assert_eq!(waves.awaited(), Some(2 * BATCH));
        for _ in 0..SEEN {
            waves.gathered(2 * BATCH, 4 * BATCH);
        }
        assert_eq!(waves.awaited(), Some(4 * BATCH), "more is, once more has come each time");
    }

    #[test]
    fn long_waves_are_not_awaited() {
        let mut waves = Waves::default();
        for _ in 0..SEEN {
            assert_eq!(waves.awaited(), None);
            waves.followed(LONGEST, 1);
        }
        assert_eq!(waves.awaited(), None);
    }

    /// Acknowledgements until it waits again, with a client that goes on as it was.
    fn rest(waves: &mut Waves) -> u32 {
        let mut count = 0;
        while waves.awaited().is_none() {
            waves.followed(2 * BATCH, 3 * BATCH);
            count += 1;
        }
        count
    }

    #[test]
    fn waiting_in_vain_is_paid_for_with_rests_that_double() {
        let mut waves = learnt();
        let mut rests = Vec::new();
        for _ in 0..9 {
            waves.gathered(5 * BATCH, BATCH);
            rests.push(rest(&mut waves));
        }
        assert_eq!(rests, [64, 128, 256, 512, 1024, 2048, 4096, 4096, 4096]);
        for _ in 0..RESTS.0 {
            waves.gathered(5 * BATCH, 5 * BATCH);
        }
        waves.gathered(5 * BATCH, 0);
        assert_eq!(rest(&mut waves), RESTS.0, "after it was worth it for a while they begin anew");
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    fn read(stream: &TcpStream) -> usize {
        stream.try_read(&mut vec![0; 1 << 20]).unwrap()
    }

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test]
    async fn a_wave_is_there_whole() {
        let (mut client, server) = pair().await;
        client.write_all(&[1; BATCH]).await.unwrap();
        server.readable().await.unwrap();
        let sending = async {
            for _ in 0..4 {
                client.write_all(&[1; BATCH]).await.unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (gathered, ()) = tokio::join!(gather(&server, 5 * BATCH, LONG), sending);
        gathered.unwrap();
        assert_eq!(read(&server), 5 * BATCH);
    }

    #[tokio::test]
    async fn what_is_there_already_is_not_waited_for() {
        let (mut client, server) = pair().await;
        client.write_all(&[1; BATCH]).await.unwrap();
        gather(&server, BATCH, LONG).await.unwrap();
        assert_eq!(read(&server), BATCH);
        client.write_all(&[1; 2 * BATCH]).await.unwrap();
        gather(&server, BATCH, LONG).await.unwrap();
    }

    #[tokio::test]
    async fn patience_ends_and_less_is_read_then() {
        let (mut client, server) = pair().await;
        client.write_all(&[1; BATCH]).await.unwrap();
        gather(&server, 2 * BATCH, PATIENCE).await.unwrap();
        server.readable().await.unwrap();
        assert_eq!(read(&server), BATCH);
        assert!(server.try_read(&mut [0]).is_err());
        client.write_all(&[1]).await.unwrap();
        tokio::time::timeout(LONG, server.readable()).await.expect("a single byte wakes again").unwrap();
        assert_eq!(read(&server), 1);
    }

    #[tokio::test]
    async fn a_client_that_closes_is_noticed() {
        let (mut client, server) = pair().await;
        client.write_all(&[1; BATCH]).await.unwrap();
        drop(client);
        gather(&server, 2 * BATCH, LONG).await.unwrap();
        assert_eq!(read(&server), BATCH);
    }
}
