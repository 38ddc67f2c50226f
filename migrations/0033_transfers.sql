-- A transfer is two movements of one id, on two cards: written together or not at all.

alter table movements add column transfer_id uuid;

alter table movements
    add constraint movements_of_transfers_have_its_id check ((kind in ('transfer_in', 'transfer_out')) = (transfer_id is not null)) not valid;
