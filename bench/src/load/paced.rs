//! Produces one batch at each tick, whatever the answers do: what a slow answer delays is seen, not avoided.

use super::produce::Answers;
use super::{Done, Progress};
use crate::Outcome;
use crate::client::{batch, produce_frame};
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub(super) fn run(
    stream: TcpStream,
    topic: &str,
    partition: i32,
    (batch_bytes, record_bytes): (usize, usize),
    (first, gap): (Duration, Duration),
    progress: &Progress,
) -> Outcome<Done> {
    let (batch, records) = batch(batch_bytes, record_bytes);
    let frame = produce_frame(topic, partition, &batch)?;
    let mut answers = Answers::new(topic);
    let mut reading = stream.try_clone()?;
    let (sent, times) = mpsc::channel::<Instant>();
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || -> Outcome<Done> {
            let mut done = Done::default();
            for at in times {
                let answered = answers.next(&mut reading);
                if answered.is_err() {
                    let _ = reading.shutdown(Shutdown::Both); // the writer must not wait for room
                }
                answered?;
                done.note(records, batch.len() as u64, at.elapsed());
            }
            Ok(done)
        });
        let written = write(stream, &frame, first, gap, progress, sent);
        let done = reader.join().unwrap_or_else(|_| Err("a thread of the load panicked".into()))?;
        written?;
        Ok(done)
    })
}

fn write(
    mut stream: TcpStream,
    frame: &[u8],
    first: Duration,
    gap: Duration,
    progress: &Progress,
    sent: mpsc::Sender<Instant>,
) -> Outcome<()> {
    let mut due = progress.begun + first;
    while progress.goes_on(0) {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        // From here on, not from when it was due: that this thread woke up late is no fault of the server's.
        if sent.send(Instant::now()).is_err() {
            break;
        }
        stream.write_all(frame)?;
        due += gap;
    }
    Ok(())
}
