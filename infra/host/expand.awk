# Fills in what is made of the list of members: `users` (ClickHouse's users.xml, from its templates) or
# `htpasswd` (for the collector), as infra/warehouse/access.py and infra/identity.py do; a test compares.
#
#   awk -v what=users|htpasswd|check -v now=SECONDS [-v templates=FOLDER -v admin=HASH -v ingest=HASH]
#
# Reads the list from standard input, sorted by id. Says which line is wrong and ends with 1 where it is no list.
# Plain POSIX: no intervals in expressions, which not every awk knows.

function fail(why) { print "line " NR " of the list of members: " why > "/dev/stderr"; failed = 1; exit 1 }

function contents(name,    file, line, all) {
    file = templates "/" name ".xml"
    while ((got = (getline line < file)) > 0) all = all line "\n"
    if (got < 0) fail("no template " file)
    close(file)
    return all
}

# Every `from` in a text becomes `to`, both taken as they are.
function swap(text, from, to,    at, done) {
    while ((at = index(text, from)) > 0) {
        done = done substr(text, 1, at - 1) to
        text = substr(text, at + length(from))
    }
    return done text
}

# SHA-256 for ClickHouse, bcrypt for the collector. Nothing else: with another ClickHouse takes no user of the list, and
# does not start; and the collector would take it for the password itself.
function formed(text, bcrypt) {
    if (bcrypt) return length(text) == 60 && text ~ /^[$]2[aby][$][0-9][0-9][$][A-Za-z0-9.\/]+$/
    return length(text) == 64 && text ~ /^[0-9a-f]+$/
}

# The hash, where it still lets anyone in at this time; else nothing.
function holding(text, bcrypt,    parts, n) {
    n = split(text, parts, "@")
    if (text == "-") return ""
    if (n > 2 || !formed(parts[1], bcrypt)) fail("no hash")
    if (n == 2 && (parts[2] !~ /^[0-9]*$/ || length(parts[2]) > 12)) fail("no hash")
    if (n == 2 && parts[2] + 0 != 0 && now + 0 >= parts[2] + 0) return ""
    return parts[1]
}

BEGIN {
    FS = "\t"
    if (what == "users") {
        role["member"] = contents("member")
        role["coordinator"] = contents("coordinator")
        role["auditor"] = contents("auditor")
        method = contents("method")
        sub(/\n$/, "", method)
        printf "%s", swap(swap(contents("head"), "@ADMIN_HASH@", admin), "@INGEST_HASH@", ingest)
    }
}

{
    if (NF != 5) fail(NF " fields instead of 5")
    if (length($1) != 12 || $1 !~ /^m-[a-z0-9]+$/) fail("no id")
    if ($2 != "member" && $2 != "coordinator" && $2 != "auditor") fail("no role")
    team = $3 == "-" ? "" : $3
    if (team !~ /^[A-Za-z0-9_-]*$/ || length(team) > 64) fail("no team")
    if ($1 in seen) fail("an id twice")
    seen[$1] = 1
    if (split($5, slots, ",") != 2) fail("two ingest hashes, or `-` for none")
    one = holding(slots[1], 1)
    two = holding(slots[2], 1)
    methods = ""
    number = 0
    count = $4 == "-" ? 0 : split($4, queries, ",")
    for (i = 1; i <= count; i++) {
        hash = holding(queries[i], 0)
        if (hash != "") methods = methods swap(swap(method, "@NUMBER@", ++number), "@HASH@", hash)
    }
    if (what == "users" && methods != "")
        printf "%s", swap(swap(swap(role[$2], "@ID@", $1), "@TEAM@", team), "@METHODS@", methods)
    if (what == "htpasswd" && $2 == "member") {
        ending = team == "" ? "" : "+" team
        if (one != "") print $1 ending ":" one
        if (two != "") print $1 ".2" ending ":" two
        if (one two != "") somebody = 1
    }
}

END {
    if (failed) exit 1
    if (what == "users") printf "%s", contents("tail")
    # The collector does not start with an empty list. No password is known to have this hash.
    if (what == "htpasswd" && !somebody) print "nobody:$2a$04$....................................................."
}
