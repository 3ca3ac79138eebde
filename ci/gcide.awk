# Reads the text of gcide.dict (stdin) and prints its longer sentences, one a line: prose of another kind than the Bible.
# The rule. An entry begins at the left margin; below it, indented, stand paragraphs that a blank line or a [source mark] ends.
# A paragraph loses its marks in brackets, the braces of cross references, its sense number and labels in parentheses in front, and
# everything from an attribution (" --Shak.") or a remark ("; -- said of ...") on. It is cut after . ? ! (quotes included) before a blank and a
# capital. A sentence is kept when it has at least MIN bytes, begins with a capital, a quote aside, ends in . ? or !, and holds
# neither a digit, a byte beyond ASCII, "?" alone (a letter that the dictionary could not print), nor other rests of notation.
# A blank line separates documents: runs of entries whose headwords have the same first three letters.
# Plain POSIX awk without intervals; run with LC_ALL=C so that every awk gives the same bytes.
BEGIN { if (!MIN) MIN = 48 }

function sentence(s) {
    sub(/^ +/, "", s)
    sub(/ +$/, "", s)
    if (length(s) < MIN || s !~ /^"?[A-Z][A-Za-z']* / || s !~ /[a-z][.?!]"?$/)
        return
    if (s ~ /[^ -~]/ || s ~ /[0-9{}\\\[\]=<>*|~^_`@#%$]/ || s ~ /[?][^"]|--|\(-|\( *\)/)
        return
    if (pending) {
        if (printed)
            print ""
        pending = 0
    }
    print s
    printed = 1
}

function paragraph(p,    at, mark) {
    while (match(p, /\[[^\[\]]*\]/)) {
        mark = RLENGTH <= 5 ? substr(p, RSTART, RLENGTH) : " " # [ae], [=e]: letters with an accent
        gsub(/[^A-Za-z ]/, "", mark)
        p = substr(p, 1, RSTART - 1) mark substr(p, RSTART + RLENGTH)
    }
    gsub(/[{}]/, "", p)
    gsub(/ +/, " ", p)
    sub(/^ /, "", p)
    while (sub(/^[0-9]+[.] /, "", p) || sub(/^\([A-Za-z. &]*\):? /, "", p) || sub(/^(Note|Syn): /, "", p))
        ;
    if (match(p, /(;| )--/)) {
        p = substr(p, 1, RSTART - 1)
        if (p !~ /[.?!]"?$/)
            p = p "."
    }
    gsub(/ \([a-z]\) /, " ", p)
    gsub(/ ;/, ";", p)
    gsub(/ ,/, ",", p)
    gsub(/ !/, "!", p)
    gsub(/ [?]$/, "?", p)
    while ((at = match(p, /[a-z][a-z][.?!]"? "?[A-Z]/)) > 0) {
        at = RSTART + RLENGTH - 2
        if (substr(p, at, 1) == "\"")
            at--
        sentence(substr(p, 1, at))
        p = substr(p, at + 1)
    }
    sentence(p)
}

function flush_paragraph() {
    if (text != "")
        paragraph(text)
    text = ""
}

/^$/ { flush_paragraph(); after_blank = 1; next }
/^[^ ]/ {
    flush_paragraph()
    if (after_blank) {
        letters = tolower($0)
        sub(/^00-.*/, "", letters)
        inside = letters != ""
        sub(/ \\.*/, "", letters)
        gsub(/[^a-z]/, "", letters)
        group = substr(letters, 1, 3)
        if (inside && group != last) {
            last = group
            pending = 1
        }
        started = started || letters == "a"
        header = 1
    }
    after_blank = 0
    next
}
{
    after_blank = 0
    line = $0
    sub(/^ +/, "", line)
    if (!inside || !started)
        next
    if (line ~ /^\[[^\]]*\]/) { # a source mark closes a paragraph; what follows it is the next headword
        flush_paragraph()
        header = 0
        next
    }
    if (text ~ /[a-z]-$/)
        text = text line
    else
        text = text == "" ? line : text " " line
}
END { flush_paragraph() }
