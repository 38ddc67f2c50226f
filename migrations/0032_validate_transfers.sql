-- The check that 0030 added. This reads every row and blocks nobody.

alter table movements validate constraint movements_of_transfers_have_its_id;
