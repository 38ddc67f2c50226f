-- The checks that 0018 added. This reads every row and blocks nobody.

alter table cards
    validate constraint cards_held_bounds,
    validate constraint cards_event_seq_not_negative,
    validate constraint cards_held_money_is_due,
    validate constraint cards_balance_bounds;

alter table movements
    validate constraint movements_kind_known,
    validate constraint movements_amount_sign,
    validate constraint movements_balance_bounds;
