#!/bin/sh
# Checks each header's opening comment against the tree. usage: headers.sh SOURCE_DIR
#   - "Private to A, B and C": folders (base/), files (team.c) or patterns (host*.c). Each file that
#     includes the header is among them, and each of them has a file that does. Others are "Public".
#   - "Includes A and B", "Includes nothing of ours": these headers of ours and no others.
#   - The comment mentions threads and ownership.
# fuzz/ may include every header and is not checked.
set -uf
cd "$1" || exit 1
failures=0
fail() {
    echo "headers: $*"
    failures=$((failures + 1))
}

sources=$(find include base simd hooks runtime analysis report cli bench tests examples -name "*.[ch]" 2>/dev/null)
# One line per include: the includer, the header.
includes=$(grep -HoE '^ *# *include *"[^"]+"' $sources | sed 's/: *# *include *"/ /; s/"$//')

[ "$(echo "$sources" | wc -l)" -gt 100 ] || fail "found no sources in $1"

# is_among FILE PLACE...
is_among() {
    file=$1
    shift
    for place; do
        case $place in
            */) case $file in "$place"*) return 0 ;; esac ;;
            */*) case $file in $place) return 0 ;; esac ;;
            *) case ${file##*/} in $place) return 0 ;; esac ;;
        esac
    done
    return 1
}

# clause OPENING: the words after it, up to the end of the clause; without commas and "and".
clause() {
    echo "$comment" | sed 's/\([.;:]\) /\1\n/g' | sed -n "s/^$1 \(.*\)[.;:]\$/\1/p" |
        sed 's/,//g; s/ and / /g; s/ only$//; s/^nothing of ours$//'
}

for header in $sources; do
    case $header in
        tests/*avx512/* | tests/*neon/*) continue ;; # named on the compiler's command line
        *.c) continue ;;
    esac
    comment=$(sed '/\*\//q' "$header" | sed 's|^/*[ *]*||; s| *\*/$||' | tr '\n' ' ')
    users=$(echo "$includes" | grep -E "[ /]${header##*/}\$" | sed 's/ .*//')
    places=$(clause 'Private to')
    for user in ${places:+$users}; do
        is_among "$user" $places || fail "$header is private to $places, but $user includes it"
    done
    for place in $places; do
        for user in $users ''; do
            [ -z "$user" ] || ! is_among "$user" "$place" || break
        done
        [ -n "$user" ] || fail "$header says that $place includes it"
    done
    case "$places $comment" in
        " "*Public*) ;;
        " "*) fail "$header says neither 'Private to ...' nor 'Public'" ;;
    esac
    if echo "$comment" | grep -q '\(^\|[.;:] \)Includes '; then
        said=$(clause Includes | tr ' ' '\n' | sort -u)
        found=$(echo "$includes" | sed -n "s|^$header ||p" | sort -u)
        [ "$said" = "$found" ] || fail "$header does not include exactly:" $said
    fi
    for word in Threads: Ownership:; do
        case $comment in *"$word"*) ;; *) fail "$header does not mention ${word%:}" ;; esac
    done
done

[ $failures -eq 0 ] || { echo "headers: $failures failed"; exit 1; }
echo "headers: every opening comment is correct"
