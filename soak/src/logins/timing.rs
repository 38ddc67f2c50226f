//! What the clock gives away: an unknown email, a wrong password and a disabled user must take the same time.

use std::{error::Error, ops::RangeInclusive};

use super::{
    Findings, OTHER, OWNER,
    sample::{median, milliseconds, told_apart},
    server::Site,
};

const SAMPLES: usize = 500;

/// In per mille, what whoever guesses by the clock may be right.
const A_COIN_TOSS: RangeInclusive<usize> = 450..=550;

/// Limits out of the way: what is measured is what lies behind them.
const LIFTED: [(&str, &str); 4] = [
    ("FAILED_LOGINS_PER_MINUTE", "1000000"),
    ("FAILED_LOGINS_PER_EMAIL_AND_ADDRESS", "1000000"),
    ("FAILED_LOGINS_PER_EMAIL", "1000000"),
    ("FAILED_LOGINS_PER_ADDRESS", "1000000"),
];

pub async fn measure(site: &Site, findings: &mut Findings) -> Result<(), Box<dyn Error>> {
    let server = site.serve(&LIFTED).await?;
    site.execute("update users set disabled_at = now() where email_key = 'admin@company.com'").await?;
    let door = server.door()?;
    // The disabled one's password is right: it would be let in but for that.
    let cases = [("nobody@example.com", OWNER.1), (OWNER.0, "a wrong password"), OTHER];
    let mut took = [const { Vec::new() }; 3];
    for sample in 0..SAMPLES + 10 {
        // The order changes, so that none always comes after the same other.
        let first: usize = rand::random_range(0..3);
        let step = rand::random_range(1..3);
        for case in [first, first + step, first + 2 * step].map(|case| case % 3) {
            let (email, password) = cases[case];
            let answer = door.login("203.0.113.9", email, password).await?;
            if answer.status != 401 {
                return Err(format!("{email} was answered {}: {}", answer.status, answer.body).into());
            }
            // The first few warm up.
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
        let auc = told_apart(known, unknown);
        findings.judge(A_COIN_TOSS.contains(&auc), &format!("{name} is told from an unknown email with an AUC of 0.{auc:03}"));
    }
    site.execute("update users set disabled_at = null where email_key = 'admin@company.com'").await?;
    server.end().await
}
