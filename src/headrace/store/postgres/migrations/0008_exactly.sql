-- A statement that must touch each of its rows ends in this: its COMMIT travels right behind it, so the server has to judge.
create function exactly(what text, touched bigint, wanted bigint) returns bigint language plpgsql as $$
begin
    if touched <> wanted then
        raise exception '% touched % rows instead of %', what, touched, wanted using errcode = 'HR001';
    end if;
    return touched;
end
$$;
