# Perl's Cache::Memcached::Fast.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Agent;
use Cache::Memcached::Fast;

my %points_of = (default => 0, 'ketama-150' => 150);

sub connect_to {
    my ($mode, @servers) = @_;
    my $points = $points_of{$mode} // die "no mode $mode\n";
    return Cache::Memcached::Fast->new(
        {
            servers         => [map { { address => $_->[0], weight => $_->[1] } } @servers],
            ketama_points   => $points,
            connect_timeout => 10,
            io_timeout      => 10,
        }
    );
}

Agent::run("Cache::Memcached::Fast $Cache::Memcached::Fast::VERSION", \&connect_to);
