#!/usr/bin/env bash
# Completion in zsh and fish, as one who types sees it (bash: test_options).
set -euo pipefail
duet=$1 folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
export HOME=$folder

expect() { # NAME GOT WANTED
  [ "$2" = "$3" ] || { printf 'test_completion: %s:\n%s\nnot:\n%s\n' "$1" "$2" "$3" >&2; exit 1; }
}

"$duet" help --completion zsh >duet.zsh
cat >try.zsh <<'EOF' # a terminal of its own; each line is completed, then made to be printed
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell 'PS1=; autoload -U compinit; compinit -u -D; source ./duet.zsh; print REA""DY'
zpty -r -m shell text '*READY*'
for line in 'tra' 'train --sched' 'train --schedule cos' 'info ref' 'eval --dat'; do
  zpty -w -n shell "duet $line"$'\t'
  sleep 0.5
  zpty -w shell $'\x01print -r -- "<\x05>"'
  zpty -r -m shell text $'*\n<duet *>*'
  print -r -- ${${text##*$'\n<'}%%>*}
done
zpty -d shell
EOF
expect zsh "$(timeout 60 zsh -f try.zsh | sed 's/ $//')" 'duet train
duet train --schedule
duet train --schedule cosine
duet info reference
duet eval --data'

"$duet" help --completion fish >duet.fish
of_fish() { timeout 60 fish --no-config -c "source duet.fish; complete -C '$1'" | cut -f 1; }
expect fish "$(of_fish 'duet tra'; of_fish 'duet train --sch'; of_fish 'duet train --schedule c'; of_fish 'duet info ref')" 'train
--schedule
constant
cosine
reference'
