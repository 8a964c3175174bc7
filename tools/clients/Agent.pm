package Agent;

# What the Perl agents share; README.md tells what an agent does.
#
# An agent gives `run` its version and a function that connects: it takes a mode
# and a list of [address, weight], and returns a client with `set` and `get`.

use strict;
use warnings;

use JSON::PP;

use constant LIMIT_SECONDS => 120;

sub run {
    my ($version, $connect) = @_;
    # Without a handler the signal ends the process.
    alarm LIMIT_SECONDS;
    if ($ARGV[0] eq 'version') {
        print "$version\n";
        return;
    }
    my ($job, $mode, $path, @servers) = @ARGV;
    my $client = $connect->($mode, map { parsed($_) } @servers);
    open my $file, '<:raw', $path or die "$path: $!\n";
    my @items = map { chomp; [split /\t/] } <$file>;
    my $report =
          $job eq 'write' ? written($client, @items)
        : $job eq 'read'  ? found($client, @items)
        :                   die "no job $job\n";
    print JSON::PP->new->canonical->encode($report), "\n";
}

sub parsed {
    my ($address, $weight) = split /\*/, shift;
    return [$address, $weight || 1];
}

sub first_of {
    my @keys = @_;
    return [map { unpack 'H*', $_ } grep { defined } @keys[0 .. 4]];
}

sub written {
    my ($client, @items) = @_;
    my @refused = map { $_->[0] } grep { !$client->set(@$_) } @items;
    return { stored => @items - @refused, refused => scalar @refused, first => first_of(@refused) };
}

sub found {
    my ($client, @items) = @_;
    my %counts = (equal => 0, different => 0, missing => 0);
    my @bad;
    for my $item (@items) {
        my ($key, $value) = @$item;
        my $found = $client->get($key);
        my $outcome = !defined $found ? 'missing' : $found eq $value ? 'equal' : 'different';
        $counts{$outcome}++;
        push @bad, $key if $outcome ne 'equal';
    }
    return { %counts, first => first_of(@bad) };
}

1;
