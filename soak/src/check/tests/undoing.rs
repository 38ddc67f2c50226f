//! What undoes other movements: reversals and refunds.

use super::{
    payments::{unchanged, world},
    *,
};

#[test]
fn a_refund_of_a_purchase_without_an_authorisation_is_refused_only_beyond_it() {
    for (cents, expected) in [(31, vec![]), (30, vec![Rule::Refusal])] {
        let mut world = world();
        world.post("p", Kind::Purchase, 30);
        world.refused("x", Kind::NetworkRefund, cents, "refund_exceeds_capture").request.target = Some("mov_p".to_owned());
        assert_eq!(world.rules(), expected, "{cents}");
    }
}

#[test]
fn undoing_more_than_there_was_is_found() {
    let undo: [(Kind, &str, i64, &str, i64, i64); 3] = [
        (Kind::CaptureReversal, "capture_reversal", 1, "mov_c", 2, 12),
        (Kind::RefundReversal, "refund_reversal", -1, "mov_r", 4, 10),
        (Kind::NetworkRefund, "refund", 1, "mov_f", 3, 27),
    ];
    for (kind, movement, sign, target, seq, left) in undo {
        for (amount, expected) in [(left, vec![]), (left + 1, vec![Rule::Exceeded])] {
            let mut world = world();
            world.undo("x", (kind, movement), sign * amount, (target, Some("auth_a"), Some(seq)), |sums| match kind {
                Kind::CaptureReversal => sums.capture_reversed += amount,
                Kind::RefundReversal => sums.refund_reversed += amount,
                _ => sums.refunded += amount,
            });
            assert_eq!(world.rules(), expected, "{kind:?} of {amount}");
        }
    }
    // What a refund gave back is not given back once more: of 27 a refund leaves 7.
    for (amount, expected) in [(7, vec![]), (8, vec![Rule::Exceeded])] {
        let mut world = world();
        world.undo("r2", (Kind::NetworkRefund, "refund"), 20, ("auth_a", Some("auth_a"), None), |sums| sums.refunded += 20);
        world.refused("x", Kind::CaptureReversal, 8, "reversal_exceeds_original").request.target = Some("mov_f".to_owned());
        world.assert_sound();
        world.undo("k2", (Kind::CaptureReversal, "capture_reversal"), amount, ("mov_f", Some("auth_a"), Some(3)), |sums| {
            sums.capture_reversed += amount;
        });
        assert_eq!(world.rules(), expected, "{amount}");
    }
    // Without an amount, a reversal takes just that.
    for (amount, expected) in [(7, vec![]), (6, vec![Rule::Lost])] {
        let mut world = world();
        world.undo("r2", (Kind::NetworkRefund, "refund"), 20, ("auth_a", Some("auth_a"), None), |sums| sums.refunded += 20);
        let reversal = world.undo("k2", (Kind::CaptureReversal, "capture_reversal"), amount, ("mov_f", Some("auth_a"), Some(3)), |sums| {
            sums.capture_reversed += amount;
        });
        reversal.request.cents = None;
        assert_eq!(world.rules(), expected, "{amount}");
    }
    // Without an authorisation, the movement is the limit.
    for (amount, expected) in [(30, vec![]), (31, vec![Rule::Exceeded])] {
        let mut world = world();
        world.post("p", Kind::Purchase, 30);
        world.undo("x", (Kind::NetworkRefund, "refund"), amount, ("mov_p", None, Some(7)), unchanged);
        assert_eq!(world.rules(), expected, "{amount}");
    }
}
