# Perl's Cache::Memcached.

use strict;
use warnings;

use FindBin;
use lib $FindBin::Bin;

use Agent;
use Cache::Memcached;

sub connect_to {
    my ($mode, @servers) = @_;
    die "no mode $mode\n" unless $mode eq 'default';
    return Cache::Memcached->new(
        {
            servers         => \@servers,
            connect_timeout => 10,
            select_timeout  => 10,
        }
    );
}

Agent::run("Cache::Memcached $Cache::Memcached::VERSION", \&connect_to);
