//! The parsers that kernel and agent share: a ClientHello in one piece, a DNS answer.

use std::hint::black_box;

use agent_common::abi::Address;
use agent_common::client_hello::{self, Outcome};
use agent_common::dns::{self, Answers, NameBuffer};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis_benches::http::HOST;
use portcullis_benches::wire;

/// Counts what it is told.
#[derive(Default)]
struct Count(usize);

impl Answers for Count {
    fn question(&mut self, _name: &NameBuffer) -> bool {
        true
    }
    fn address(&mut self, address: Address, _ttl: u32) {
        black_box(address);
        self.0 += 1;
    }
}

fn peek(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("peek");

    let hello = wire::client_hello(HOST);
    assert_eq!(hello.len(), wire::HELLO_BYTES);
    let Outcome::Found(found) = client_hello::parse(&hello[..]) else { panic!("the sample is no hello") };
    let name = found.server_name.expect("a name");
    assert_eq!(&hello[name.at..][..name.length], HOST.as_bytes());
    group.throughput(Throughput::Bytes(hello.len() as u64));
    group.bench_function("ClientHello", |b| b.iter(|| client_hello::parse(black_box(&hello[..]))));

    let answer = wire::dns_answer(HOST);
    let read = |answer: &[u8], name: &mut NameBuffer| {
        let mut count = Count::default();
        dns::parse(answer, name, &mut count).map(|()| count.0)
    };
    let mut name = NameBuffer::new();
    assert_eq!(read(&answer, &mut name), Ok(4));
    group.throughput(Throughput::Bytes(answer.len() as u64));
    group.bench_function("DNS answer", |b| b.iter(|| read(black_box(&answer), &mut name)));
    group.finish();
}

criterion_group!(benches, peek);
criterion_main!(benches);
