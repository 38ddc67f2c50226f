-- The check that 0033 added. This reads every row and blocks nobody.

alter table movements validate constraint movements_of_transfers_have_its_id;
