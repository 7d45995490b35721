# A worker of one vice, by hand and without libzmq: `perl vandal.pl flood|garbage|noise|half|thief|many`.
use strict;
use warnings;
use Socket;

$| = 1;
$SIG{PIPE} = 'IGNORE';
my $vice = shift;
my $address = sockaddr_un($ENV{TREEVISOR_ENDPOINT} =~ s/^ipc:\/\///r);

sub joined {
    my $s;
    socket($s, AF_UNIX, SOCK_STREAM, 0) && connect($s, $address) && return $s;
    select(undef, undef, undef, 0.01);
    return undef;
}

# The greeting and the READY of ZMTP 3.0, and those of the other side.
sub greeted {
    my $s = joined() or return undef;
    syswrite($s, "\xff" . "\0" x 8 . "\x7f\x03\0NULL" . "\0" x 48) or return undef;
    syswrite($s, "\x04\x29\x05READY\x0bSocket-Type\0\0\0\x06DEALER\x08Identity\0\0\0\0") or return undef;
    my ($answer, $left) = ('', 64 + 2);
    while ($left > 0) {
        my $got = sysread($s, $answer, $left, length $answer) or return undef;
        $left -= $got;
        $left += ord(substr($answer, 65, 1)) if length $answer == 66;
    }
    return $s;
}

sub message {
    my $last = pop;
    return join('', map { "\1" . chr(length) . $_ } @_) . "\0" . chr(length $last) . $last;
}

sub forever {
    my ($bytes, $open) = @_;
    while (1) {
        my $s = $open->() or next;
        1 while syswrite($s, $bytes);
    }
}

if ($vice eq 'flood') {
    forever(message('TV1', 'BEAT', $ENV{TREEVISOR_TOKEN}) x 20, \&greeted);
} elsif ($vice eq 'garbage') {
    forever(message('TV1', 'BEAT', 'no token') . message("\xff" x 200) . message(('x') x 60) . message('TV9', ''), \&greeted);
} elsif ($vice eq 'noise') {
    forever("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" x 20, \&joined);
} elsif ($vice eq 'half') {
    my @halves;
    for my $n (1 .. 100) {
        my $s = $n % 2 ? greeted() : joined();
        next unless $s;
        syswrite($s, $n % 2 ? "\1\3TV1\1\4BE" : "\xff\0\0\0");
        push @halves, $s;
    }
    print "halves are sent\n";
    sleep 1000;
} elsif ($vice eq 'thief') {
    select(undef, undef, undef, 0.05) until -s 'token';
    open(my $file, '<', 'token');
    chomp(my $token = <$file>);
    my $s;
    while (1) {
        # The highest number there is: if it counted, none of the other's own would count any more.
        $s && syswrite($s, message('TV1', 'BEAT', $token, '18446744073709551615')) or $s = greeted();
        select(undef, undef, undef, 0.02);
    }
} elsif ($vice eq 'many') {
    # In ten processes, so that no limit of open files is in the way.
    my $is_parent = 1;
    for (1 .. 9) {
        $is_parent = fork;
        last unless $is_parent;
    }
    my @open;
    while (1) {
        my $s = joined() or next;
        push @open, $s;
        last if @open == 500;
    }
    print "500 connections are open\n";
    sleep 1000;
}
