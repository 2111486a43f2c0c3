//! The decision on a download for which one policy of many applies.

use std::hint::black_box;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use portcullis::classify::{Exchange, classify};
use portcullis::policy::decision::Action;
use portcullis_benches::http::{self, HOST};
use portcullis_benches::policies::{self, Others};

fn decide(criterion: &mut Criterion) {
    let (session, device) = (policies::session(), policies::device());
    let (request, response) = (http::request(), http::response());
    let class = classify(&Exchange::new(&request, &response, HOST));
    let mut group = criterion.benchmark_group("decide");
    let samples = [
        (1, Others::SameApp, "1 policy".to_owned()),
        (100, Others::OtherApps, "100 policies, 99 for other apps".to_owned()),
        (100, Others::SameApp, "100 policies, 99 for other users".to_owned()),
        (10_000, Others::OtherApps, "10,000 policies, the others for other apps".to_owned()),
        (10_000, Others::SameApp, "10,000 policies, the others for other users".to_owned()),
        (10_000, Others::OtherPlaces, "10,000 policies, the others for other tags and networks".to_owned()),
        (10_000, Others::AllApply, "10,000 policies, all of which apply".to_owned()),
    ];
    for (count, others, name) in samples {
        let set = policies::policy_set(count, others);
        let decision = set.evaluate(&session, &device, &class, Some(482_133));
        assert_eq!(decision.action(), Action::Block, "{name}");
        group.bench_function(name, |b| {
            b.iter(|| set.evaluate(black_box(&session), &device, &class, Some(482_133)));
        });
    }
    let population = policies::population(1024);
    for count in [100, 1000, 10_000] {
        let begun = Instant::now();
        let set = policies::organisation(count);
        eprintln!("decide: {count} policies of an organisation read in {:.0?}", begun.elapsed());
        let mut blocked = 0;
        let mut sessions = population.iter().cycle();
        for (session, device) in &population {
            let decision = set.evaluate(session, device, &class, Some(482_133));
            blocked += usize::from(decision.action() == Action::Block);
        }
        if count == 10_000 {
            assert!((100..900).contains(&blocked), "{blocked} of 1024 sessions are blocked");
        }
        group.bench_function(format!("{count} policies of an organisation, 1024 sessions in turn"), |b| {
            b.iter(|| {
                let (session, device) = sessions.next().expect("it goes round");
                set.evaluate(black_box(session), device, &class, Some(482_133))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
