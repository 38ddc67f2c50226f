//! Timing leaks: an unknown email, a wrong password and a disabled user must take the same time.

use std::ops::RangeInclusive;

use bench::{Failure, Testbed, postgres::NAME};

use super::{
    Findings, OTHER, OWNER,
    client::Client,
    sample::{auc, median, milliseconds},
};

const SAMPLES: usize = 500;

/// The accepted AUC in per mille: an attacker does no better than a coin toss.
const COIN_TOSS: RangeInclusive<usize> = 450..=550;

/// Settings that lift the rate limits, to measure what lies behind them.
const LIFTED: [(&str, &str); 4] = [
    ("CORE_API__RATE_LIMIT__FAILED_LOGINS_PER_MINUTE", "1000000"),
    ("CORE_API__RATE_LIMIT__FAILED_LOGINS_PER_EMAIL_AND_ADDRESS", "1000000"),
    ("CORE_API__RATE_LIMIT__FAILED_LOGINS_PER_EMAIL", "1000000"),
    ("CORE_API__RATE_LIMIT__FAILED_LOGINS_PER_ADDRESS", "1000000"),
];

pub async fn measure(testbed: &Testbed, findings: &mut Findings) -> Result<(), Failure> {
    let server = testbed.serve_with(NAME, &LIFTED).await?;
    testbed.postgres.query(NAME, "update users set disabled_at = now() where email_key = 'admin@company.com'")?;
    let client = Client::of(&server)?;
    // The password of the disabled user is right.
    let cases = [("nobody@example.com", OWNER.1), (OWNER.0, "a wrong password"), OTHER];
    let mut took = [const { Vec::new() }; 3];
    for sample in 0..SAMPLES + 10 {
        // The order varies, so that no case always follows the same other one.
        let first: usize = rand::random_range(0..3);
        let step = rand::random_range(1..3);
        for case in [first, first + step, first + 2 * step].map(|case| case % 3) {
            let (email, password) = cases[case];
            let answer = client.login("203.0.113.9", email, password).await?;
            if answer.status != 401 {
                return Err(format!("{email} was answered {}: {}", answer.status, answer.body).into());
            }
            // The first requests are a warm-up.
            if sample >= 10 {
                took[case].push(answer.micros);
            }
        }
    }
    let [unknown, wrong, disabled] = &mut took;
    findings.note(&format!(
        "medians of {SAMPLES}: unknown email {}, wrong password {}, disabled user {}",
        milliseconds(median(unknown)),
        milliseconds(median(wrong)),
        milliseconds(median(disabled)),
    ));
    for (name, known) in [("a wrong password", &*wrong), ("a disabled user", &*disabled)] {
        let auc = auc(known, unknown);
        findings.judge(COIN_TOSS.contains(&auc), &format!("{name} is distinguished from an unknown email with an AUC of 0.{auc:03}"));
    }
    testbed.postgres.query(NAME, "update users set disabled_at = null where email_key = 'admin@company.com'")?;
    server.stop().await
}
